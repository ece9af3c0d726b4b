// Runs CUDA kernels on the CPU: every thread of a block is a fiber; what needs several threads (barriers,
// shuffles, matrix products of a warp) waits until all of them are there, and says so where they cannot meet.
// One block at a time, one launch at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

namespace emulation {

enum class Order { kForward, kReverse, kShuffled };

// Mistakes that a kernel could have, made on purpose: the checks must notice.
enum class Fault {
  kNone,
  kBarrier,  // the barrier at Config::fault_at is missing
  kWait,     // copies are not waited for
  kMask,     // masks lack lane 3
};

struct Config {
  Order order = Order::kForward;  // in which threads take their turns
  uint64_t seed = 1;
  Fault fault = Fault::kNone;
  std::string fault_at;
};
extern Config config;

struct Stats {
  uint64_t switches = 0, collectives = 0, barriers = 0, products = 0;
};
extern Stats stats;

// A kernel takes one parameter struct.
struct Kernel {
  const char* name;
  size_t params_bytes;
  void (*call)(const void* params);
};
// Null: no such kernel among those of kernels/cuda/kernels.inc.
const Kernel* find_kernel(const char* name);

// "", or what went wrong: a deadlock, threads that meet at different places, copies nobody waited for, a
// race.
std::string launch(const Kernel& kernel, dim3 grid, dim3 block, size_t shared_bytes, const void* params);

// Where the last launch had barriers.
const std::set<std::string>& barriers();

// Memory of the device, which tests may touch, too, between launches. Where accesses are watched
// (watch_on.cc), kernels may touch nothing else.
void* allocate(size_t bytes);
void release(void* memory);

}  // namespace emulation
