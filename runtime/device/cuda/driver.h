// The slice of the CUDA driver that the backend uses. It is looked for when a backend is created: nothing of
// CUDA is needed to build or to start a program.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"

namespace lsrt {
namespace cuda {

using DeviceAddress = unsigned long long;
struct ContextHandle;
struct ModuleHandle;
struct FunctionHandle;
struct StreamHandle;
struct GraphHandle;
struct GraphExecHandle;

// name, symbol of the library, parameters; all return 0 or an error.
#define LSRT_CUDA_DRIVER(X)                                                                                 \
  X(Init, "cuInit", (unsigned))                                                                             \
  X(DriverGetVersion, "cuDriverGetVersion", (int*))                                                         \
  X(DeviceGetCount, "cuDeviceGetCount", (int*))                                                             \
  X(DeviceGet, "cuDeviceGet", (int*, int))                                                                  \
  X(DeviceGetName, "cuDeviceGetName", (char*, int, int))                                                    \
  X(DeviceGetAttribute, "cuDeviceGetAttribute", (int*, int, int))                                           \
  X(PrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (ContextHandle**, int))                                   \
  X(PrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", (int))                                               \
  X(CtxSetCurrent, "cuCtxSetCurrent", (ContextHandle*))                                                     \
  X(ModuleLoadData, "cuModuleLoadData", (ModuleHandle**, const void*))                                      \
  X(ModuleUnload, "cuModuleUnload", (ModuleHandle*))                                                        \
  X(ModuleGetFunction, "cuModuleGetFunction", (FunctionHandle**, ModuleHandle*, const char*))               \
  X(MemAlloc, "cuMemAlloc_v2", (DeviceAddress*, size_t))                                                    \
  X(MemFree, "cuMemFree_v2", (DeviceAddress))                                                               \
  X(MemHostRegister, "cuMemHostRegister_v2", (void*, size_t, unsigned))                                     \
  X(MemHostUnregister, "cuMemHostUnregister", (void*))                                                      \
  X(MemHostGetDevicePointer, "cuMemHostGetDevicePointer_v2", (DeviceAddress*, void*, unsigned))             \
  X(MemsetD8Async, "cuMemsetD8Async", (DeviceAddress, unsigned char, size_t, StreamHandle*))                \
  X(MemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2", (DeviceAddress, const void*, size_t, StreamHandle*))           \
  X(MemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2", (void*, DeviceAddress, size_t, StreamHandle*))                 \
  X(MemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2", (DeviceAddress, DeviceAddress, size_t, StreamHandle*))         \
  X(StreamCreate, "cuStreamCreate", (StreamHandle**, unsigned))                                             \
  X(StreamDestroy, "cuStreamDestroy_v2", (StreamHandle*))                                                   \
  X(StreamSynchronize, "cuStreamSynchronize", (StreamHandle*))                                              \
  X(StreamBeginCapture, "cuStreamBeginCapture_v2", (StreamHandle*, int))                                    \
  X(StreamEndCapture, "cuStreamEndCapture", (StreamHandle*, GraphHandle**))                                 \
  X(GraphInstantiate, "cuGraphInstantiateWithFlags", (GraphExecHandle**, GraphHandle*, unsigned long long)) \
  X(GraphLaunch, "cuGraphLaunch", (GraphExecHandle*, StreamHandle*))                                        \
  X(GraphDestroy, "cuGraphDestroy", (GraphHandle*))                                                         \
  X(GraphExecDestroy, "cuGraphExecDestroy", (GraphExecHandle*))                                             \
  X(LaunchKernel, "cuLaunchKernel",                                                                         \
    (FunctionHandle*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, StreamHandle*,  \
     void**, void**))                                                                                       \
  X(GetErrorName, "cuGetErrorName", (int, const char**))

struct Driver {
#define LSRT_CUDA_FUNCTION(name, symbol, parameters) int(*name) parameters = nullptr;
  LSRT_CUDA_DRIVER(LSRT_CUDA_FUNCTION)
#undef LSRT_CUDA_FUNCTION

  // kDevice (kMemory where that is what failed): "CUDA cannot `what`: NAME".
  Status failure(int error, const char* what) const;
  Status check(int error, const char* what) const { return error ? failure(error, what) : Status(); }

  // That of this process: LSRT_CUDA_LIBRARY, or libcuda.so.1 where the system has it. kUnsupported, saying
  // what is missing.
  static Result<const Driver*> load();
};

}  // namespace cuda
}  // namespace lsrt
