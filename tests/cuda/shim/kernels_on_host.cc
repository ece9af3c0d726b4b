// The kernels as the host's compiler builds them.
#include <cstring>

#include "kernels/cuda/kernels.cu"

namespace emulation {
namespace {

const Kernel kKernels[] = {
#define LSRT_CUDA_KERNEL(name, Params)        \
  {"lsrt_" #name, sizeof(lsrt::cuda::Params), \
   [](const void* p) { lsrt::cuda::lsrt_##name(*static_cast<const lsrt::cuda::Params*>(p)); }},
#include "kernels/cuda/kernels.inc"
#undef LSRT_CUDA_KERNEL
};

}  // namespace

const Kernel* find_kernel(const char* name) {
  for (const Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

}  // namespace emulation
