// The threads of an emulated block, and how the processor goes from one to another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/cuda/shim/emulator.h"

#if !defined(__x86_64__) && !defined(__aarch64__)
#define EMULATION_UCONTEXT 1  // slower: it makes system calls
#endif
#ifdef EMULATION_UCONTEXT
#include <ucontext.h>
#endif

namespace emulation {

enum class Op { kShuffle, kShuffleXor, kBallot, kProductS8, kLoadMatrix };
enum class State { kReady, kWaitsForWarp, kWaitsForBlock, kDone };

// A copy to shared memory that is not there until it is waited for.
struct AsyncCopy {
  void* to;
  const void* from;
  unsigned bytes;  // of 16; the others become zero
};

struct Fiber {
#ifdef EMULATION_UCONTEXT
  ucontext_t context;
#else
  void* stack_pointer = nullptr;
#endif
  char* stack = nullptr;
  dim3 thread;
  int lane = 0, warp = 0;
  State state = State::kReady;
  uint32_t mask = 0;
  const void* in = nullptr;
  void* out = nullptr;
  int arg = 0;
  const char* where = "";
  std::vector<AsyncCopy> open;
  std::vector<std::vector<AsyncCopy>> groups;
};

constexpr size_t kStackBytes = 64 << 10;

extern Fiber* current;

// Makes a fiber that will run entry(), which must not return.
void make_fiber(Fiber* fiber, void (*entry)());
// From the scheduler to a fiber, until it comes back.
void enter(Fiber* fiber);
// From the fiber that runs to the scheduler. Its last: it will not be entered again.
void leave(bool last);
// Must be called first on a new fiber.
void entered();

// What the lanes of `mask` do together, all of which have come.
void run_collective(Op op, Fiber* warp, uint32_t mask);
// The launch will end with this error; the first one counts.
void note_error(const std::string& error);
// The fiber does not go on.
[[noreturn]] void park();

// Shared memory of the block that runs.
bool is_shared(const void* address);

// Watching of accesses (watch_on.cc); in builds without it they do nothing (watch_off.cc).
enum class Access { kRead, kWrite, kAtomic };
void watch_launch(const void* params, size_t bytes);
void watch_block();
void watch_barrier();
void watch_access(const void* address, size_t bytes, Access access);
std::string watch_report();  // of the launch; "": nothing to say

}  // namespace emulation
