#include "runtime/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

namespace lsrt {
namespace {

std::string temporary_name(const std::string& path) {
  static std::atomic<unsigned> serial{0};  // two threads may write the same target
  return path + ".partial-" + std::to_string(getpid()) + "-" + std::to_string(serial++);
}

Status write_error(const std::string& path) {
  return fail(Error::kFile, "%s: cannot write: %s", path.c_str(), std::strerror(errno));
}

// Makes the rename itself durable. Some file systems cannot do it, which is no reason to fail.
void sync_folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  fsync(descriptor);
  close(descriptor);
}

}  // namespace

Result<AtomicFile> AtomicFile::open(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return fail(Error::kFile, "%s: cannot write: exists and is %s", path.c_str(),
                S_ISDIR(info.st_mode) ? "a folder" : "not a regular file");
  }
  AtomicFile file;
  const std::string temporary = temporary_name(path);
  // Plain open(), not mkstemp(): the result gets the permissions that the user's umask asks for.
  file.descriptor_ = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file.descriptor_ < 0) return write_error(path);
  file.path_ = path;
  file.temporary_ = temporary;
  return file;
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept { *this = std::move(other); }

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

Status AtomicFile::write(const void* data, size_t size) {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    // Linux writes at most 2 GiB at once.
    const ssize_t written = ::write(descriptor_, next, std::min<size_t>(size, 1u << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return write_error(path_);
    next += written;
    size -= static_cast<size_t>(written);
  }
  return {};
}

Status AtomicFile::overwrite(uint64_t offset, const void* data, size_t size) {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::pwrite(descriptor_, next, size, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return write_error(path_);
    next += written;
    offset += static_cast<uint64_t>(written);
    size -= static_cast<size_t>(written);
  }
  return {};
}

Status AtomicFile::commit() {
  if (fsync(descriptor_) != 0) return write_error(path_);
  if (close(std::exchange(descriptor_, -1)) != 0) return write_error(path_);
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return write_error(path_);
  temporary_.clear();
  sync_folder_of(path_);
  return {};
}

}  // namespace lsrt
