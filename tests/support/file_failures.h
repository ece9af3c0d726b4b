// Lets chosen calls on files of the test's process fail, or do only a part of what was asked. For one source
// file of a test; nothing where a sanitizer has functions of its own in this place.
#pragma once

#undef _FORTIFY_SOURCE  // by which clang gets bodies for some of these functions; so include this first

#include <algorithm>
#include <cerrno>
#include <cstddef>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__) && \
    defined(__linux__)
#define LSRT_FAIL_FILES 1
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdarg>

struct FileFailures {
  bool counting = false;
  long calls = 0;         // since counting began
  long at = -1;           // the call that fails
  bool in_parts = false;  // reads and writes of at most 7 bytes, each interrupted once
  bool interrupted = false;
};
static FileFailures file_failures;

static bool file_fails(int reason) {
  if (!file_failures.counting) return false;
  if (file_failures.calls++ != file_failures.at) return false;
  errno = reason;
  return true;
}
// A read or write: how much of it is done; -1: errno says why not.
static ssize_t transfer(size_t size, int reason) {
  if (file_fails(reason)) return -1;
  if (!file_failures.counting || !file_failures.in_parts) return static_cast<ssize_t>(size);
  file_failures.interrupted = !file_failures.interrupted;
  if (file_failures.interrupted) return errno = EINTR, -1;
  return static_cast<ssize_t>(std::min<size_t>(size, 7));
}

extern "C" {
int open(const char* path, int flags, ...) {
  std::va_list list;
  va_start(list, flags);
  const mode_t mode = va_arg(list, mode_t);  // what is there without O_CREAT is not looked at
  va_end(list);
  return file_fails(EACCES) ? -1 : static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}
ssize_t read(int file, void* to, size_t size) {
  const ssize_t n = transfer(size, EIO);
  return n < 0 ? -1 : syscall(SYS_read, file, to, n);
}
ssize_t pread(int file, void* to, size_t size, off_t at) {
  const ssize_t n = transfer(size, EIO);
  return n < 0 ? -1 : syscall(SYS_pread64, file, to, n, at);
}
ssize_t write(int file, const void* from, size_t size) {
  const ssize_t n = transfer(size, ENOSPC);
  return n < 0 ? -1 : syscall(SYS_write, file, from, n);
}
ssize_t pwrite(int file, const void* from, size_t size, off_t at) {
  const ssize_t n = transfer(size, ENOSPC);
  return n < 0 ? -1 : syscall(SYS_pwrite64, file, from, n, at);
}
int fsync(int file) { return file_fails(EIO) ? -1 : static_cast<int>(syscall(SYS_fsync, file)); }
int close(int file) {
  const bool fails = file_fails(EIO);  // and is closed, as Linux does it
  const int closed = static_cast<int>(syscall(SYS_close, file));
  return fails ? (errno = EIO, -1) : closed;
}
int rename(const char* from, const char* to) noexcept {
  return file_fails(EACCES) ? -1 : static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}
int linkat(int from_folder, const char* from, int folder, const char* to, int flags) noexcept {
  return file_fails(EACCES) ? -1
                            : static_cast<int>(syscall(SYS_linkat, from_folder, from, folder, to, flags));
}
int fstat(int file, struct stat* info) noexcept {
  return file_fails(EIO) ? -1 : static_cast<int>(syscall(SYS_fstat, file, info));
}
void* mmap(void* at, size_t size, int rights, int flags, int file, off_t offset) noexcept {
  if (file >= 0 && file_fails(ENODEV)) return MAP_FAILED;
  return reinterpret_cast<void*>(syscall(SYS_mmap, at, size, rights, flags, file, offset));
}
}  // extern "C"
#endif
