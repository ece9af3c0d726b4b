// Lets chosen allocations of the test's process fail: malloc and its kin (C++'s new ends there as well) and
// mappings of memory without a file. Counts what is still allocated. For one source file of a test.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdlib>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__) && \
    defined(__linux__)
#define LSRT_FAIL_MEMORY 1
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct MemoryFailures {
  bool counting = false;
  long calls = 0;           // since counting began
  long from = -1, to = -1;  // calls that fail: [from, to)
  long live = 0;            // allocated while counting and not freed
};
static MemoryFailures memory_failures;

// One thread at a time allocates while counting.
static bool memory_fails() {
  if (!memory_failures.counting) return false;
  const long call = memory_failures.calls++;
  if (call < memory_failures.from || call >= memory_failures.to) return false;
  errno = ENOMEM;
  return true;
}
static void* made(void* memory) {
  memory_failures.live += memory_failures.counting && memory;
  return memory;
}

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

void* malloc(size_t n) noexcept { return memory_fails() ? nullptr : made(__libc_malloc(n)); }
void* calloc(size_t n, size_t size) noexcept {
  return memory_fails() ? nullptr : made(__libc_calloc(n, size));
}
void* realloc(void* p, size_t n) noexcept {
  if (memory_fails()) return nullptr;
  void* moved = __libc_realloc(p, n);
  return p ? moved : made(moved);
}
int posix_memalign(void** p, size_t alignment, size_t n) noexcept {
  if (memory_fails()) return ENOMEM;
  *p = made(__libc_memalign(alignment, n));
  return *p ? 0 : ENOMEM;
}
void* aligned_alloc(size_t alignment, size_t n) noexcept {
  return memory_fails() ? nullptr : made(__libc_memalign(alignment, n));
}
void free(void* p) noexcept {
  memory_failures.live -= memory_failures.counting && p;
  __libc_free(p);
}
void* mmap(void* at, size_t n, int protection, int flags, int file, off_t offset) noexcept {
  if (file < 0 && memory_fails()) return MAP_FAILED;
  return reinterpret_cast<void*>(syscall(SYS_mmap, at, n, protection, flags, file, offset));
}
}
#endif
