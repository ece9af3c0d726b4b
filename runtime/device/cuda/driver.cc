#include "runtime/device/cuda/driver.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>

namespace lsrt {
namespace cuda {
namespace {

constexpr int kOutOfMemory = 2;

Result<const Driver*> load_once() {
  static Driver driver;
  const char* chosen = std::getenv("LSRT_CUDA_LIBRARY");
  const bool is_chosen = chosen && *chosen;
  void* library = dlopen(is_chosen ? chosen : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
#if defined(__aarch64__)
  if (!library && !is_chosen) {  // where Jetson has it
    library = dlopen("/usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  }
#endif
  if (!library) return fail(Error::kUnsupported, "there is no CUDA driver: %s", dlerror());
  const char* missing = nullptr;
#define LSRT_CUDA_LOAD(name, symbol, parameters)                         \
  if (void* found = dlsym(library, symbol)) {                            \
    std::memcpy(static_cast<void*>(&driver.name), &found, sizeof found); \
  } else if (!missing) {                                                 \
    missing = symbol;                                                    \
  }
  LSRT_CUDA_DRIVER(LSRT_CUDA_LOAD)
#undef LSRT_CUDA_LOAD
  if (missing) {
    int version = 0;
    if (driver.DriverGetVersion) driver.DriverGetVersion(&version);
    return fail(Error::kUnsupported,
                "the CUDA driver is too old: it is of CUDA %d.%d and has no %s; install one of CUDA 11.4 or later",
                version / 1000, version % 1000 / 10, missing);
  }
  if (const int error = driver.Init(0)) return driver.failure(error, "start");
  int devices = 0;
  if (const int error = driver.DeviceGetCount(&devices)) return driver.failure(error, "count devices");
  if (devices == 0) return fail(Error::kUnsupported, "the CUDA driver finds no device");
  return static_cast<const Driver*>(&driver);
}

}  // namespace

Result<const Driver*> Driver::load() {
  static const Result<const Driver*> loaded = load_once();
  return loaded;
}

Status Driver::failure(int error, const char* what) const {
  const char* name = nullptr;
  GetErrorName(error, &name);
  return fail(error == kOutOfMemory ? Error::kMemory : Error::kDevice, "CUDA cannot %s: %s (%d)", what,
              name ? name : "an unknown error", error);
}

}  // namespace cuda
}  // namespace lsrt
