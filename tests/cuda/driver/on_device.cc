// The kernel tests on a device: the emulator's functions, done by the driver that the backend finds. Memory
// is managed, so that the host reads and writes it between launches.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/device/cuda/cuda.h"
#include "tests/cuda/shim/emulator.h"

namespace emulation {
namespace {

const Kernel kKernels[] = {
#define LSRT_CUDA_KERNEL(name, Params) {"lsrt_" #name, sizeof(lsrt::cuda::Params), nullptr},
#include "kernels/cuda/kernels.inc"
#undef LSRT_CUDA_KERNEL
};

// Tests cannot go on without one.
const lsrt::CudaDevice& device() {
  static const auto opened = lsrt::CudaDevice::open();
  if (!opened.ok() || !opened.value()->use().ok()) {
    std::fprintf(stderr, "no device: %s\n", opened.status().message().c_str());
    std::exit(1);
  }
  return *opened.value();
}

}  // namespace

const Kernel* find_kernel(const char* name) {
  for (const Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

void* allocate(size_t bytes) {
  constexpr unsigned kGlobal = 1;
  device();
  // The backend has no use for it, so that it is not among the functions that a driver must have.
  static const auto allocate_managed =
      reinterpret_cast<int (*)(lsrt::cuda::DeviceAddress*, size_t, unsigned)>(
          dlsym(dlopen(std::getenv("LSRT_CUDA_LIBRARY"), RTLD_NOW), "cuMemAllocManaged"));
  lsrt::cuda::DeviceAddress address = 0;
  if (!allocate_managed || allocate_managed(&address, bytes, kGlobal)) return nullptr;
  return reinterpret_cast<void*>(static_cast<uintptr_t>(address));
}

void release(void* memory) { device().driver->MemFree(reinterpret_cast<uintptr_t>(memory)); }

std::string launch(const Kernel& kernel, dim3 grid, dim3 block, size_t shared_bytes, const void* params) {
  const lsrt::CudaDevice& on = device();
  void* arguments[] = {const_cast<void*>(params)};
  int error =
      on.driver->LaunchKernel(on.kernels[&kernel - kKernels], grid.x, grid.y, grid.z, block.x, block.y,
                              block.z, static_cast<unsigned>(shared_bytes), nullptr, arguments, nullptr);
  if (!error) error = on.driver->StreamSynchronize(nullptr);
  return error ? on.driver->failure(error, kernel.name).message() : "";
}

}  // namespace emulation
