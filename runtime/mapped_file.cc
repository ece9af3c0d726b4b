#include "runtime/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace lsrt {
namespace {

// Maps the open file; the caller closes the descriptor, which the mapping does not need.
Result<void*> map_descriptor(int descriptor, const std::string& path, size_t* size) {
  struct stat info;
  if (fstat(descriptor, &info) != 0) {
    return fail(Error::kFile, "%s: cannot read: %s", path.c_str(), std::strerror(errno));
  }
  if (S_ISDIR(info.st_mode)) return fail(Error::kFile, "%s: is a folder, not a file", path.c_str());
  if (!S_ISREG(info.st_mode)) return fail(Error::kFile, "%s: is not a regular file", path.c_str());
  if (info.st_size == 0) return fail(Error::kFile, "%s: the file is empty", path.c_str());
  *size = static_cast<size_t>(info.st_size);
  void* data = mmap(nullptr, *size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (data == MAP_FAILED) {
    return fail(Error::kFile, "%s: cannot map: %s", path.c_str(), std::strerror(errno));
  }
  return data;
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  // Without O_NONBLOCK, opening a named pipe would wait for its writer.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    return fail(Error::kFile, "%s: cannot open: %s", path.c_str(), std::strerror(errno));
  }
  MappedFile file;
  Result<void*> data = map_descriptor(descriptor, path, &file.size_);
  ::close(descriptor);
  if (!data.ok()) return data.status();
  file.data_ = static_cast<const uint8_t*>(data.value());
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<uint8_t*>(data_), size_);
}

}  // namespace lsrt
