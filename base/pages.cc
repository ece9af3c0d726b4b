#include "base/pages.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "base/redzone.h"

namespace lsrt {
namespace {

constexpr size_t kPage = 4096, kHugePage = size_t{2} << 20;

size_t whole_pages(size_t bytes) {
  const size_t page = bytes >= kHugePage ? kHugePage : kPage;
  return bytes == 0 ? page : (bytes + page - 1) / page * page;
}

// Under AddressSanitizer memory comes from the heap at its exact size, so that nothing behind it can be used
// unseen. What is larger stays with the system: where it has none, that is an error and not the end.
#ifdef LSRT_ASAN
constexpr size_t kMostFromHeap = size_t{256} << 20;
#else
constexpr size_t kMostFromHeap = 0;
#endif

}  // namespace

void* map_pages(size_t bytes) {
  if (bytes > SIZE_MAX / 2) return nullptr;
  if (bytes < kMostFromHeap) {
    void* memory = nullptr;
    if (posix_memalign(&memory, kPage, bytes) != 0) return nullptr;
    return std::memset(memory, 0, bytes);
  }
  const size_t size = whole_pages(bytes), slack = size >= kHugePage ? kHugePage : 0;
  void* mapped = mmap(nullptr, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  if (slack == 0) return mapped;
  // The system aligns to small pages only: what lies before and behind goes back.
  auto* begin = static_cast<uint8_t*>(mapped);
  const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  if (before) munmap(begin, before);
  munmap(begin + before + size, slack - before);
#ifdef MADV_HUGEPAGE
  (void)madvise(begin + before, size, MADV_HUGEPAGE);  // a hint; without it only slower
#endif
  return begin + before;
}

void unmap_pages(void* memory, size_t bytes) {
  if (!memory) return;
  if (bytes < kMostFromHeap) {
    std::free(memory);
  } else {
    open_memory(memory, bytes);  // who gets the addresses next
    munmap(memory, whole_pages(bytes));
  }
}

}  // namespace lsrt
