#include "tests/cuda/shim/emulator.h"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

#include "tests/cuda/shim/cuda_shim.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define EMULATION_POISON(address, bytes) __asan_poison_memory_region(address, bytes)
#define EMULATION_UNPOISON(address, bytes) __asan_unpoison_memory_region(address, bytes)
#else
#define EMULATION_POISON(address, bytes) ((void)(address), (void)(bytes))
#define EMULATION_UNPOISON(address, bytes) ((void)(address), (void)(bytes))
#endif

namespace emulation {

Config config;
Stats stats;
dim3 block_index, block_extent, grid_extent;
char* dynamic_shared = nullptr;

namespace {

constexpr size_t kStaticBytes = 48 << 10;  // shared memory that kernels declare
constexpr size_t kMaxThreads = 1024;
constexpr unsigned char kUnwritten = 0xCD;

struct Warp {
  uint32_t arrived = 0, mask = 0, done = 0;
  Op op = Op::kShuffle;
  const char* where = nullptr;
};

std::mutex launching;
std::vector<Fiber> fibers;
Warp warps[kMaxThreads / 32];
std::string error;
const Kernel* running;
const void* running_params;
alignas(128) char statics[kStaticBytes];
size_t statics_used;
std::vector<std::pair<int*, size_t>> static_places;
size_t dynamic_bytes;
std::set<std::string> barriers_met;

// What a fiber runs.
void run_thread() {
  entered();
  running->call(running_params);
  Fiber* fiber = current;
  Warp& warp = warps[fiber->warp];
  if (!fiber->open.empty() || !fiber->groups.empty())
    note_error("a thread ends with copies that nobody waited for");
  if (warp.arrived && (warp.mask >> fiber->lane & 1)) {
    note_error(std::string("a lane ends while its warp waits for it at ") + warp.where);
  }
  fiber->open.clear();
  fiber->groups.clear();
  fiber->state = State::kDone;
  warp.done |= 1u << fiber->lane;
  leave(true);
  std::abort();
}

// Where all threads that are left wait: at one barrier, or for each other in vain.
bool release_block(size_t threads) {
  const char* where = nullptr;
  size_t done = 0, waiting = 0;
  for (size_t i = 0; i < threads; ++i) {
    const Fiber& fiber = fibers[i];
    done += fiber.state == State::kDone;
    if (fiber.state != State::kWaitsForBlock) continue;
    ++waiting;
    if (!where) where = fiber.where;
    if (std::strcmp(where, fiber.where) != 0) {
      note_error(std::string("threads of a block meet at different barriers: ") + where + " and " +
                 fiber.where);
    }
  }
  if (waiting == 0 || waiting + done != threads) return false;
  if (done) note_error(std::string("a barrier after threads of the block ended: ") + where);
  ++stats.barriers;
  watch_barrier();
  for (size_t i = 0; i < threads; ++i) {
    if (fibers[i].state == State::kWaitsForBlock) fibers[i].state = State::kReady;
  }
  return true;
}

bool all_done(size_t threads) {
  for (size_t i = 0; i < threads; ++i) {
    if (fibers[i].state != State::kDone) return false;
  }
  return true;
}

uint64_t next_random(uint64_t* state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

void run_block(size_t threads, uint64_t* random) {
  std::memset(dynamic_shared, kUnwritten, dynamic_bytes);
  std::memset(statics, kUnwritten, statics_used);
  for (size_t i = 0; i < threads; ++i) {
    Fiber& fiber = fibers[i];
    const auto at = static_cast<unsigned>(i);
    fiber.thread = {at % block_extent.x, at / block_extent.x % block_extent.y,
                    at / block_extent.x / block_extent.y};
    fiber.lane = static_cast<int>(i % 32);
    fiber.warp = static_cast<int>(i / 32);
    fiber.state = State::kReady;
    make_fiber(&fiber, run_thread);
  }
  for (Warp& warp : warps) warp = Warp();
  std::vector<size_t> order(threads);
  for (size_t i = 0; i < threads; ++i) order[i] = config.order == Order::kReverse ? threads - 1 - i : i;
  while (error.empty()) {
    bool progress = false;
    if (config.order == Order::kShuffled) {
      for (size_t i = threads - 1; i > 0; --i) std::swap(order[i], order[next_random(random) % (i + 1)]);
      for (const size_t i : order) {
        if (fibers[i].state != State::kReady) continue;
        progress = true;
        enter(&fibers[i]);
      }
    } else {
      for (size_t warp = 0; warp < threads; warp += 32) {  // a warp runs until it needs the rest of the block
        for (bool more = true; more && error.empty();) {
          more = false;
          for (size_t i = warp; i < warp + 32; ++i) {
            if (fibers[order[i]].state != State::kReady) continue;
            more = progress = true;
            enter(&fibers[order[i]]);
          }
        }
      }
    }
    if (!error.empty() || all_done(threads) || release_block(threads) || progress) {
      if (all_done(threads)) return;
      continue;
    }
    for (size_t i = 0; i < threads; ++i) {
      if (fibers[i].state == State::kWaitsForWarp) {
        note_error(std::string("lanes wait in vain at ") + fibers[i].where);
      }
    }
    note_error("the block cannot go on");
  }
}

}  // namespace

void note_error(const std::string& what) {
  if (error.empty()) error = what;
}

void park() {
  for (;;) {  // the launch is over; the scheduler does not come back
    current->state = State::kWaitsForBlock;
    leave(false);
  }
}

namespace {

[[noreturn]] void fail(const char* what, const char* where) {
  note_error(std::string(what) + " at " + where);
  park();
}

bool same_place(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }

}  // namespace

void collective(Op op, uint32_t mask, const void* in, void* out, int arg, const char* where) {
  Fiber* fiber = current;
  Warp& warp = warps[fiber->warp];
  const uint32_t bit = 1u << fiber->lane;
  if (config.fault == Fault::kMask) mask &= ~(1u << 3);
  if (!(mask & bit)) fail("the lane is not in its own mask", where);
  if (mask & warp.done) fail("the mask names a lane that has ended", where);
  if (!warp.arrived) {
    warp.mask = mask, warp.op = op, warp.where = where;
  } else if (warp.mask != mask || warp.op != op || !same_place(warp.where, where)) {
    note_error(std::string("lanes of a warp meet at different places: ") + warp.where + " and " + where);
    park();
  }
  fiber->in = in, fiber->out = out, fiber->arg = arg, fiber->where = where;
  warp.arrived |= bit;
  if (warp.arrived != mask) {
    fiber->state = State::kWaitsForWarp;
    leave(false);
    return;
  }
  ++stats.collectives;
  Fiber* first = fiber - fiber->lane;
  run_collective(op, first, mask);
  warp.arrived = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) first[lane].state = State::kReady;
  }
}

void barrier(const char* where) {
  barriers_met.insert(where);
  if (config.fault == Fault::kBarrier && config.fault_at == where) return;
  current->where = where;
  current->state = State::kWaitsForBlock;
  leave(false);
}

void copy_async(void* to, const void* from, unsigned bytes) {
  if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || !is_shared(to)) {
    fail("a copy to what is not 16 aligned bytes of shared memory", "copy_async");
  }
  if (bytes != 0 && (bytes != 16 || reinterpret_cast<uintptr_t>(from) % 16 != 0)) {
    fail("a copy from what is not 16 aligned bytes", "copy_async");
  }
  watch_access(to, 16, Access::kWrite);
  if (bytes) watch_access(from, 16, Access::kRead);
  std::memset(to, kUnwritten, 16);
  current->open.push_back({to, from, bytes});
}

void copies_issued() {
  current->groups.push_back(std::move(current->open));
  current->open.clear();
}

void wait_for_copies(size_t left) {
  if (config.fault == Fault::kWait) return;
  auto& groups = current->groups;
  while (groups.size() > left) {
    for (const AsyncCopy& copy : groups.front()) {
      watch_access(copy.to, 16, Access::kWrite);
      std::memset(copy.to, 0, 16);
      std::memcpy(copy.to, copy.from, copy.bytes);
    }
    groups.erase(groups.begin());
  }
}

const std::set<std::string>& barriers() { return barriers_met; }

int atomic_add(int* p, int v) {  // fibers are not interrupted
  watch_access(p, sizeof *p, Access::kAtomic);
  const int old = *p;
  *p = static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(v));
  return old;
}

void* static_shared(int* id, size_t bytes) {
  if (*id < 0 || static_cast<size_t>(*id) >= static_places.size() || static_places[*id].first != id) {
    *id = static_cast<int>(static_places.size());
    static_places.push_back({id, statics_used});
    if (bytes > kStaticBytes - statics_used) fail("too much shared memory", "its declaration");
    std::memset(statics + statics_used, kUnwritten, bytes);
    statics_used += (bytes + 127) / 128 * 128;
  }
  return statics + static_places[*id].second;
}

bool is_shared(const void* address) {
  const char* p = static_cast<const char*>(address);
  return (p >= statics && p < statics + kStaticBytes) ||
         (p >= dynamic_shared && p < dynamic_shared + dynamic_bytes);
}

std::string launch(const Kernel& kernel, dim3 grid, dim3 block, size_t shared_bytes, const void* params) {
  const std::lock_guard<std::mutex> lock(launching);
  const size_t threads = size_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMaxThreads || threads % 32 != 0) return "a block is 1 to 32 whole warps";
  if (fibers.size() < threads) fibers.resize(threads);
  running = &kernel, running_params = params;
  error.clear();
  barriers_met.clear();
  static_places.clear();
  statics_used = 0;
  grid_extent = grid, block_extent = block, dynamic_bytes = shared_bytes;
  const size_t allocated = (shared_bytes + 255) / 128 * 128;
  dynamic_shared = static_cast<char*>(std::aligned_alloc(128, allocated));
  EMULATION_POISON(dynamic_shared + shared_bytes, allocated - shared_bytes);
  watch_launch(params, kernel.params_bytes);
  uint64_t random = config.seed * 0x9E3779B97F4A7C15u + 1;
  for (size_t i = 0; i < size_t{grid.x} * grid.y * grid.z && error.empty(); ++i) {
    const auto at = static_cast<unsigned>(i);
    block_index = {at % grid.x, at / grid.x % grid.y, at / grid.x / grid.y};
    watch_block();
    run_block(threads, &random);
  }
  if (!error.empty()) error = std::string(kernel.name) + ": " + error;
  if (const std::string watched = watch_report(); !watched.empty() && error.empty()) {
    error = std::string(kernel.name) + ": " + watched;
  }
  for (Fiber& fiber : fibers) fiber.open.clear(), fiber.groups.clear();
  EMULATION_UNPOISON(dynamic_shared, allocated);
  std::free(dynamic_shared);
  dynamic_shared = nullptr, dynamic_bytes = 0, current = nullptr;
  return error;
}

}  // namespace emulation
