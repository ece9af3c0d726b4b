#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <random>
#include <utility>

namespace lsrt {
namespace {

Status write_error(const std::string& path, int error = errno) {
  return fail(Error::kFile, "%s: cannot write: %s", path.c_str(), std::strerror(error));
}

// With its slash; "" is the working folder.
std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/') + 1); }

// The end of a chain of symbolic links; it need not exist.
Result<std::string> follow_links(const std::string& path) {
  constexpr int kMaxLinks = 40;  // as Linux
  std::string target = path;
  for (int links = 0; links <= kMaxLinks; ++links) {
    char next[PATH_MAX];
    const ssize_t size = readlink(target.c_str(), next, sizeof next);
    if (size < 0) return target;  // no link, or nothing there
    const std::string link(next, static_cast<size_t>(size));
    target = link.rfind('/', 0) == 0 ? link : folder_of(target) + link;
  }
  return write_error(path, ELOOP);
}

// A name beside the target that nobody can guess and occupy: make(name) tries it, EEXIST asks for another.
template <typename Make>
Result<std::string> find_name(const std::string& path, const std::string& target, const Make& make) {
  std::random_device random;
  for (int tries = 0; tries < 100; ++tries) {
    const uint64_t number = uint64_t{random()} << 32 | random();
    char suffix[32];
    std::snprintf(suffix, sizeof suffix, ".partial-%016llx", static_cast<unsigned long long>(number));
    std::string name = target + suffix;  // before the file is there: memory may run out
    if (make(name.c_str())) return name;
    if (errno != EEXIST) break;
  }
  return write_error(path);
}

// The way to a file that is open, name or not.
std::string descriptor_path(int descriptor) { return "/proc/self/fd/" + std::to_string(descriptor); }

// Makes the rename itself durable. Some file systems cannot do it, which is no reason to fail.
void sync_folder(const std::string& folder) {
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  fsync(descriptor);
  close(descriptor);
}

}  // namespace

Result<AtomicFile> AtomicFile::open(const std::string& path, Temporary temporary) {
  AtomicFile file;
  file.path_ = path;
  LSRT_ASSIGN(file.target_, follow_links(path));
  struct stat info;
  const bool exists = stat(file.target_.c_str(), &info) == 0;
  if (exists && !S_ISREG(info.st_mode)) {
    return fail(Error::kFile, "%s: cannot write: exists and is %s", path.c_str(),
                S_ISDIR(info.st_mode) ? "a folder" : "not a regular file");
  }
  const std::string folder = folder_of(file.target_);
#ifdef O_TMPFILE
  if (temporary == Temporary::kUnnamed) {
    // For writing and reading: who runs without rights over all files opens it again by its descriptor.
    file.descriptor_ = ::open(folder.empty() ? "." : folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (file.descriptor_ >= 0 && access(descriptor_path(file.descriptor_).c_str(), F_OK) != 0) {
      close(std::exchange(file.descriptor_, -1));  // no /proc: there would be no way to give it a name
    }
  }
#endif
  if (file.descriptor_ < 0) {
    // Plain open(), not mkstemp(): the result gets the permissions that the user's umask asks for.
    const auto make = [&](const char* name) {
      file.descriptor_ = ::open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
      return file.descriptor_ >= 0;
    };
    LSRT_ASSIGN(file.temporary_, find_name(path, file.target_, make));
  }
  if (exists && fchmod(file.descriptor_, info.st_mode & 07777) != 0) return write_error(path);
  return file;
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept { *this = std::move(other); }

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(target_, other.target_);
  std::swap(temporary_, other.temporary_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

std::string AtomicFile::temporary_path() const {
  return temporary_.empty() ? descriptor_path(descriptor_) : temporary_;
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

Status AtomicFile::give_name() {
  const std::string unnamed = descriptor_path(descriptor_);
  const auto make = [&](const char* name) {
    return linkat(AT_FDCWD, unnamed.c_str(), AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0;
  };
  LSRT_ASSIGN(temporary_, find_name(path_, target_, make));
  return {};
}

Status AtomicFile::commit() {
  if (fsync(descriptor_) != 0) return write_error(path_);
  if (temporary_.empty()) LSRT_TRY(give_name());  // a link cannot replace a file, a rename can
  if (close(std::exchange(descriptor_, -1)) != 0) return write_error(path_);
  if (rename(temporary_.c_str(), target_.c_str()) != 0) return write_error(path_);
  temporary_.clear();
  sync_folder(folder_of(target_));
  return {};
}

}  // namespace lsrt
