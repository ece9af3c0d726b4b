// Watches what kernels touch: races between threads of a block that no barrier separates, races between
// blocks, and memory that is not the device's. The kernels are compiled with -fsanitize=thread; these
// functions, which the compiler has called at every access, are linked instead of ThreadSanitizer's.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <unordered_map>

#include "tests/cuda/shim/fiber.h"

namespace emulation {
namespace {

struct Event {
  uint64_t block = 0;  // counted over all launches; 0: none
  uint64_t barriers = 0;
  int thread = 0;
  Access access = Access::kRead;
};

// The last write of a byte, and two of the last reads, by different threads.
struct Byte {
  Event write, reads[2];
};

constexpr uintptr_t kPageBytes = 4096;
using Page = Byte[kPageBytes];

std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
std::map<uintptr_t, size_t> device;
uint64_t block, first_block, barriers_passed;
uintptr_t params_begin, params_end;
std::string found;

Byte& byte_at(uintptr_t address) {
  std::unique_ptr<Page>& page = pages[address / kPageBytes];
  if (!page) page.reset(new Page[1]());
  return (*page)[address % kPageBytes];
}

bool on_device(uintptr_t address, size_t bytes) {
  auto after = device.upper_bound(address);
  if (after == device.begin()) return false;
  --after;
  return address + bytes <= after->first + after->second;
}

void note(const char* what, const Event& before, const Event& now) {
  if (!found.empty()) return;
  char text[160];
  std::snprintf(text, sizeof text, "a race: thread %d of block %llu %s what thread %d of block %llu touched",
                now.thread, static_cast<unsigned long long>(now.block - first_block), what, before.thread,
                static_cast<unsigned long long>(before.block - first_block));
  found = text;
}

// Whether nothing orders the two.
bool conflict(const Event& before, const Event& now, bool shared) {
  if (before.block < first_block || before.block == 0) return false;  // of a launch before
  if (before.access == Access::kAtomic && now.access == Access::kAtomic) return false;
  if (before.block != now.block) return !shared;
  return before.thread != now.thread && before.barriers == now.barriers;
}

}  // namespace

void* allocate(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, bytes) != 0) return nullptr;
  device[reinterpret_cast<uintptr_t>(memory)] = bytes;
  return memory;
}
void release(void* memory) {
  device.erase(reinterpret_cast<uintptr_t>(memory));
  std::free(memory);
}

void watch_launch(const void* params, size_t bytes) {
  params_begin = reinterpret_cast<uintptr_t>(params), params_end = params_begin + bytes;
  first_block = block + 1;
  found.clear();
}
void watch_block() { ++block; }
void watch_barrier() { ++barriers_passed; }
std::string watch_report() { return found; }

void watch_access(const void* p, size_t bytes, Access access) {
  if (!current) return;  // not in a kernel
  const auto address = reinterpret_cast<uintptr_t>(p);
  const auto stack = reinterpret_cast<uintptr_t>(current->stack);
  if (address >= stack && address < stack + kStackBytes) return;
  if (address >= params_begin && address < params_end && access == Access::kRead) return;
  const bool shared = is_shared(p);
  const Event now{block, barriers_passed, current->warp * 32 + current->lane, access};
  if (!shared && !on_device(address, bytes)) {
    note_error("memory that is not the device's is touched");
    park();
  }
  for (uintptr_t at = address; at < address + bytes; ++at) {
    Byte& byte = byte_at(at);
    if (conflict(byte.write, now, shared))
      note(access == Access::kRead ? "reads" : "writes", byte.write, now);
    if (access == Access::kRead) {
      const bool another = byte.reads[0].block == now.block && byte.reads[0].thread != now.thread;
      byte.reads[another] = now;
      continue;
    }
    for (const Event& read : byte.reads) {
      if (conflict(read, now, shared)) note("writes", read, now);
    }
    byte.write = now;
    byte.reads[0] = byte.reads[1] = Event();
  }
}

}  // namespace emulation

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
#define EMULATION_WATCH(n)                                                                            \
  void __tsan_read##n(void* p) { emulation::watch_access(p, n, emulation::Access::kRead); }           \
  void __tsan_write##n(void* p) { emulation::watch_access(p, n, emulation::Access::kWrite); }         \
  void __tsan_unaligned_read##n(void* p) { emulation::watch_access(p, n, emulation::Access::kRead); } \
  void __tsan_unaligned_write##n(void* p) { emulation::watch_access(p, n, emulation::Access::kWrite); }
EMULATION_WATCH(1)
EMULATION_WATCH(2)
EMULATION_WATCH(4)
EMULATION_WATCH(8)
EMULATION_WATCH(16)
void __tsan_read_range(void* p, size_t n) { emulation::watch_access(p, n, emulation::Access::kRead); }
void __tsan_write_range(void* p, size_t n) { emulation::watch_access(p, n, emulation::Access::kWrite); }

}  // extern "C"
