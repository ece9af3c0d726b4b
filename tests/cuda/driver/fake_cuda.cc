// A CUDA driver for tests: memory is the host's, launches are over when they return, kernels are those that
// the host's compiler built, run by tests/cuda/shim. The backend finds it as it finds the real one
// (LSRT_CUDA_LIBRARY).
#include "tests/cuda/driver/fake_cuda.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/cuda/shim/emulator.h"

namespace {

enum Code {
  kOk = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kInvalidImage = 200,
  kNotFound = 500,
  kLaunchFailed = 719
};

struct Stream {
  bool recording = false;
  std::vector<std::function<int()>> recorded;
};
using Graph = std::vector<std::function<int()>>;
using Address = unsigned long long;

std::mutex mutex;  // of what follows
std::map<Address, size_t> blocks;
int alive = 0, launches = 0, repetitions = 0;
std::string failing;
int failing_after = 0;

// Whether this call has been chosen to fail.
bool fails(const char* symbol) {
  const std::lock_guard<std::mutex> lock(mutex);
  return failing == symbol && failing_after-- == 0;
}
void count(int change) {
  const std::lock_guard<std::mutex> lock(mutex);
  alive += change;
}

bool is_device(Address address, size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex);
  auto after = blocks.upper_bound(address);
  if (after == blocks.begin()) return false;
  --after;
  return address + bytes <= after->first + after->second;
}

void* pointer(Address address) { return reinterpret_cast<void*>(static_cast<uintptr_t>(address)); }

// Now, or when what the stream records is repeated.
int run(Stream* stream, std::function<int()> what) {
  if (!stream || !stream->recording) return what();
  stream->recorded.push_back(std::move(what));
  return kOk;
}

}  // namespace

#define FAKE_CUDA extern "C" __attribute__((visibility("default"))) int
#define FAKE_CUDA_FAILS(code) \
  if (fails(__func__)) return code

extern "C" __attribute__((visibility("default"))) void fake_cuda_fail(const char* symbol, int after) {
  const std::lock_guard<std::mutex> lock(mutex);
  failing = symbol, failing_after = after;
}
FAKE_CUDA fake_cuda_alive() { return alive; }
FAKE_CUDA fake_cuda_launches() { return std::exchange(launches, 0); }
FAKE_CUDA fake_cuda_repetitions() { return std::exchange(repetitions, 0); }

FAKE_CUDA cuInit(unsigned) { return kOk; }
FAKE_CUDA cuDriverGetVersion(int* version) { return *version = 12060, kOk; }
FAKE_CUDA cuDeviceGetCount(int* n) { return *n = 1, kOk; }
FAKE_CUDA cuDeviceGet(int* device, int) {
  FAKE_CUDA_FAILS(kInvalidValue);
  return *device = 0, kOk;
}
FAKE_CUDA cuDeviceGetName(char* name, int n, int) { return std::snprintf(name, n, "emulated"), kOk; }
FAKE_CUDA cuDeviceGetAttribute(int* value, int attribute, int) {
  return *value = attribute == 75 ? 8 : attribute == 76 ? 7 : 0, kOk;
}
FAKE_CUDA cuDevicePrimaryCtxRetain(void** context, int) {
  FAKE_CUDA_FAILS(kInvalidValue);
  return count(1), *context = &blocks, kOk;
}
FAKE_CUDA cuDevicePrimaryCtxRelease_v2(int) { return count(-1), kOk; }
FAKE_CUDA cuCtxSetCurrent(void* context) { return context == &blocks ? kOk : kInvalidValue; }
FAKE_CUDA cuModuleLoadData(void** module, const void* image) {
  FAKE_CUDA_FAILS(kInvalidImage);
  if (!image) return kInvalidImage;
  return count(1), *module = &alive, kOk;
}
FAKE_CUDA cuModuleUnload(void*) { return count(-1), kOk; }
FAKE_CUDA cuModuleGetFunction(void** function, void*, const char* name) {
  FAKE_CUDA_FAILS(kNotFound);
  const emulation::Kernel* kernel = emulation::find_kernel(name);
  if (!kernel) return kNotFound;
  return *function = const_cast<emulation::Kernel*>(kernel), kOk;
}

FAKE_CUDA cuMemAlloc_v2(Address* address, size_t bytes) {
  FAKE_CUDA_FAILS(kOutOfMemory);
  void* memory = nullptr;
  if (bytes == 0 || posix_memalign(&memory, 512, bytes) != 0) return kOutOfMemory;
  std::memset(memory, 0xCD, bytes);
  *address = reinterpret_cast<uintptr_t>(memory);
  const std::lock_guard<std::mutex> lock(mutex);
  blocks[*address] = bytes, ++alive;
  return kOk;
}
FAKE_CUDA cuMemFree_v2(Address address) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (!blocks.erase(address)) return kInvalidValue;
  std::free(pointer(address));
  return --alive, kOk;
}
FAKE_CUDA cuMemsetD8Async(Address to, unsigned char value, size_t bytes, Stream* stream) {
  FAKE_CUDA_FAILS(kLaunchFailed);
  if (!is_device(to, bytes)) return kInvalidValue;
  return run(stream, [=] { return std::memset(pointer(to), value, bytes), kOk; });
}
FAKE_CUDA cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, Stream*) {
  FAKE_CUDA_FAILS(kLaunchFailed);
  if (!is_device(to, bytes)) return kInvalidValue;
  return std::memcpy(pointer(to), from, bytes), kOk;
}
FAKE_CUDA cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, Stream*) {
  FAKE_CUDA_FAILS(kLaunchFailed);
  if (!is_device(from, bytes)) return kInvalidValue;
  return std::memcpy(to, pointer(from), bytes), kOk;
}
FAKE_CUDA cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, Stream* stream) {
  FAKE_CUDA_FAILS(kLaunchFailed);
  if (!is_device(to, bytes) || !is_device(from, bytes)) return kInvalidValue;
  return run(stream, [=] { return std::memmove(pointer(to), pointer(from), bytes), kOk; });
}

FAKE_CUDA cuStreamCreate(Stream** stream, unsigned) {
  FAKE_CUDA_FAILS(kOutOfMemory);
  return count(1), *stream = new Stream, kOk;
}
FAKE_CUDA cuStreamDestroy_v2(Stream* stream) {
  delete stream;
  return count(-1), kOk;
}
FAKE_CUDA cuStreamSynchronize(Stream*) {
  FAKE_CUDA_FAILS(kLaunchFailed);
  return kOk;
}
FAKE_CUDA cuStreamBeginCapture_v2(Stream* stream, int) {
  FAKE_CUDA_FAILS(kInvalidValue);
  if (stream->recording) return kInvalidValue;
  return stream->recording = true, kOk;
}
FAKE_CUDA cuStreamEndCapture(Stream* stream, Graph** graph) {
  const bool recorded = std::exchange(stream->recording, false);
  const Graph launches_of_graph = std::exchange(stream->recorded, {});
  FAKE_CUDA_FAILS(kInvalidValue);
  if (!recorded) return kInvalidValue;
  return count(1), *graph = new Graph(launches_of_graph), kOk;
}
FAKE_CUDA cuGraphInstantiateWithFlags(Graph** exec, Graph* graph, unsigned long long) {
  FAKE_CUDA_FAILS(kOutOfMemory);
  return count(1), *exec = new Graph(*graph), kOk;
}
FAKE_CUDA cuGraphLaunch(Graph* exec, Stream*) {
  FAKE_CUDA_FAILS(kLaunchFailed);
  {
    const std::lock_guard<std::mutex> lock(mutex);
    ++repetitions;
  }
  for (const auto& step : *exec) {
    if (const int error = step()) return error;
  }
  return kOk;
}
FAKE_CUDA cuGraphDestroy(Graph* graph) {
  delete graph;
  return count(-1), kOk;
}
FAKE_CUDA cuGraphExecDestroy(Graph* exec) {
  delete exec;
  return count(-1), kOk;
}

FAKE_CUDA cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned x,
                         unsigned y, unsigned z, unsigned shared_bytes, Stream* stream, void** params,
                         void**) {
  FAKE_CUDA_FAILS(kLaunchFailed);
  if (!grid_x || !grid_y || !grid_z || grid_y > 65535 || shared_bytes > 48 << 10) return kInvalidValue;
  const auto* kernel = static_cast<const emulation::Kernel*>(function);
  std::vector<uint64_t> copy((kernel->params_bytes + 7) / 8);
  std::memcpy(copy.data(), params[0], kernel->params_bytes);
  return run(stream, [=] {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      ++launches;
    }
    const std::string error =
        emulation::launch(*kernel, {grid_x, grid_y, grid_z}, {x, y, z}, shared_bytes, copy.data());
    if (error.empty()) return kOk;
    std::fprintf(stderr, "fake CUDA: %s\n", error.c_str());
    return kLaunchFailed;
  });
}
FAKE_CUDA cuGetErrorName(int error, const char** name) {
  *name = error == kOutOfMemory ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE";
  return kOk;
}
