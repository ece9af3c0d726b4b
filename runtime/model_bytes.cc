#include "runtime/model_bytes.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/mapped_file.h"

namespace lsrt {

Result<ModelBytes> read_model_bytes(const std::string& path) {
  LSRT_ASSIGN(const OpenFile file, OpenFile::open(path));
  ModelBytes bytes;
  // Through a buffer that stays in the cache: a vector would be zeroed before it could be read into.
  std::vector<uint8_t> buffer;
  try {
    bytes.reserve(file.size());
    buffer.resize(std::min(file.size(), size_t{256} << 10));
  } catch (const std::bad_alloc&) {
    return fail(Error::kMemory, "%s: cannot allocate %zu bytes for the model", path.c_str(), file.size());
  }
  while (bytes.size() < file.size()) {
    const ssize_t n =
        ::read(file.descriptor(), buffer.data(), std::min(buffer.size(), file.size() - bytes.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::kFile, "%s: cannot read: %s", path.c_str(), std::strerror(errno));
    if (n == 0) return fail(Error::kFile, "%s: was shortened while it was read", path.c_str());
    bytes.insert(bytes.end(), buffer.data(), buffer.data() + n);
  }
  return bytes;
}

}  // namespace lsrt
