#include "runtime/model_bytes.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/mapped_file.h"

namespace lsrt {

Result<Pages> read_into_pages(const std::string& path) {
  LSRT_ASSIGN(const OpenFile file, OpenFile::open(path));
  Pages bytes(file.size());
  if (!bytes.data()) {
    return fail(Error::kMemory, "%s: cannot allocate %zu bytes for the model", path.c_str(), file.size());
  }
  for (size_t done = 0; done < file.size();) {
    const ssize_t n = ::read(file.descriptor(), bytes.data() + done, file.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::kFile, "%s: cannot read: %s", path.c_str(), std::strerror(errno));
    if (n == 0) return fail(Error::kFile, "%s: was shortened while it was read", path.c_str());
    done += static_cast<size_t>(n);
  }
  return bytes;
}

}  // namespace lsrt
