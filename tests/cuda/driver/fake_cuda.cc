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
  kNoBinary = 209,
  kNewerPtx = 222,
  kNotFound = 500,
  kLaunchFailed = 719
};

struct Stream {
  bool recording = false;
  int error = 0;  // of launches, until it is waited for
  std::vector<std::function<int()>> recorded;
};
using Graph = std::vector<std::function<int()>>;
using Address = unsigned long long;

std::mutex mutex;  // of what follows
std::map<Address, size_t> blocks;
int alive = 0, launches = 0, repetitions = 0;
std::string failing;
int failing_after = 0;
FakeDevice device = {8, 7, 12060, false};
std::map<const void*, size_t> registered;  // the host's memory
// LSRT_FAKE_CUDA_LOG: a file that gets a line for each launch, and one for each repetition.
FILE* log_file = nullptr;

// Whether this call has been chosen to fail.
bool fails(const std::string& symbol) {
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
extern "C" __attribute__((visibility("default"))) void fake_cuda_device(const FakeDevice* is) {
  device = *is;
}
extern "C" __attribute__((visibility("default"))) unsigned long long fake_cuda_bytes() {
  const std::lock_guard<std::mutex> lock(mutex);
  unsigned long long bytes = 0;
  for (const auto& [address, size] : blocks) bytes += size;
  return bytes;
}
FAKE_CUDA fake_cuda_alive() { return alive; }
FAKE_CUDA fake_cuda_launches() { return std::exchange(launches, 0); }
FAKE_CUDA fake_cuda_repetitions() { return std::exchange(repetitions, 0); }

FAKE_CUDA cuInit(unsigned) {
  const char* path = std::getenv("LSRT_FAKE_CUDA_LOG");
  if (path && !log_file) log_file = std::fopen(path, "w");
  return kOk;
}
FAKE_CUDA cuDriverGetVersion(int* version) { return *version = device.version, kOk; }
FAKE_CUDA cuDeviceGetCount(int* n) { return *n = 1, kOk; }
FAKE_CUDA cuDeviceGet(int* index, int) {
  FAKE_CUDA_FAILS(kInvalidValue);
  return *index = 0, kOk;
}
FAKE_CUDA cuDeviceGetName(char* name, int n, int) { return std::snprintf(name, n, "emulated"), kOk; }
FAKE_CUDA cuDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case 18: *value = device.integrated; break;  // integrated
    case 75: *value = device.major; break;
    case 76: *value = device.minor; break;
    case 19:   // maps the host's memory,
    case 99:   // which can be registered,
    case 113:  // also to be read only
      *value = 1;
      break;
    default: return kInvalidValue;
  }
  return kOk;
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
  if (device.major * 10 + device.minor < 75) return kNoBinary;
  if (device.version < 11000) return kNewerPtx;
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
FAKE_CUDA cuMemAllocManaged(Address* address, size_t bytes, unsigned) { return cuMemAlloc_v2(address, bytes); }
FAKE_CUDA cuMemFree_v2(Address address) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (!blocks.erase(address)) return kInvalidValue;
  std::free(pointer(address));
  return --alive, kOk;
}
FAKE_CUDA cuMemHostRegister_v2(void* memory, size_t bytes, unsigned flags) {
  FAKE_CUDA_FAILS(kInvalidValue);
  const std::lock_guard<std::mutex> lock(mutex);
  if (!memory || !(flags & 2) || registered.count(memory)) return kInvalidValue;
  return registered[memory] = bytes, ++alive, kOk;
}
FAKE_CUDA cuMemHostUnregister(void* memory) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (!registered.erase(memory)) return kInvalidValue;
  return --alive, kOk;
}
FAKE_CUDA cuMemHostGetDevicePointer_v2(Address* address, void* memory, unsigned) {
  FAKE_CUDA_FAILS(kInvalidValue);
  const std::lock_guard<std::mutex> lock(mutex);
  if (!registered.count(memory)) return kInvalidValue;
  return *address = reinterpret_cast<uintptr_t>(memory), kOk;
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
FAKE_CUDA cuStreamSynchronize(Stream* stream) {
  FAKE_CUDA_FAILS(kLaunchFailed);
  return stream ? stream->error : kOk;
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
    if (log_file) std::fprintf(log_file, "graph\n");
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
      if (log_file) {
        std::fprintf(log_file, "%s %u %u %u %u\n", kernel->name, grid_x, grid_y, x, shared_bytes);
      }
    }
    if (stream && fails(kernel->name)) return stream->error = kLaunchFailed, kOk;
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
