#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace lsrt {
Result<OpenFile> OpenFile::open(const std::string& path) {
  // Without O_NONBLOCK, opening a named pipe would wait for its writer.
  OpenFile file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.descriptor_ < 0) {
    return fail(Error::kFile, "%s: cannot open: %s", path.c_str(), std::strerror(errno));
  }
  struct stat info;
  if (fstat(file.descriptor_, &info) != 0) {
    return fail(Error::kFile, "%s: cannot read: %s", path.c_str(), std::strerror(errno));
  }
  if (S_ISDIR(info.st_mode)) return fail(Error::kFile, "%s: is a folder, not a file", path.c_str());
  if (!S_ISREG(info.st_mode)) return fail(Error::kFile, "%s: is not a regular file", path.c_str());
  if (info.st_size == 0) return fail(Error::kFile, "%s: the file is empty", path.c_str());
  file.size_ = static_cast<size_t>(info.st_size);
  file.path_ = path;
  return file;
}

OpenFile::OpenFile(OpenFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_), path_(std::move(other.path_)) {}

OpenFile& OpenFile::operator=(OpenFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

OpenFile::~OpenFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status OpenFile::read(size_t offset, void* to, size_t size) const {
  auto* bytes = static_cast<uint8_t*>(to);
  for (size_t done = 0; done < size;) {
    const ssize_t n = ::pread(descriptor_, bytes + done, size - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::kFile, "%s: cannot read: %s", path_.c_str(), std::strerror(errno));
    if (n == 0) return fail(Error::kFile, "%s: was shortened while it was read", path_.c_str());
    done += static_cast<size_t>(n);
  }
  return {};
}

void forget_mapped(const void* data, size_t size) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + size + page - 1) / page * page;
  (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);  // a hint
}

Result<MappedFile> MappedFile::open(const std::string& path) {
  LSRT_ASSIGN(const OpenFile file, OpenFile::open(path));
  void* data = mmap(nullptr, file.size(), PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  if (data == MAP_FAILED) {
    return fail(Error::kFile, "%s: cannot map: %s", path.c_str(), std::strerror(errno));
  }
  MappedFile mapped;
  mapped.data_ = static_cast<const uint8_t*>(data);
  mapped.size_ = file.size();
  return mapped;
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
