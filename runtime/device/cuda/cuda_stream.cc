#include "runtime/device/cuda/cuda.h"

namespace lsrt {

CudaStream::~CudaStream() {
  if (!device_->use().ok()) return;
  const cuda::Driver& driver = *device_->driver;
  if (handle_) driver.StreamSynchronize(handle_);
  forget_steps();
  if (workspace_) driver.MemFree(device_address(workspace_));
  if (handle_) driver.StreamDestroy(handle_);
}

Status CudaStream::create(size_t workspace) {
  constexpr unsigned kNonBlocking = 1;
  const cuda::Driver& driver = *device_->driver;
  LSRT_TRY(device_->use());
  LSRT_TRY(driver.check(driver.StreamCreate(&handle_, kNonBlocking), "create a stream"));
  if (workspace == 0) return {};
  cuda::DeviceAddress address = 0;
  if (driver.MemAlloc(&address, workspace)) {
    return fail(Error::kMemory, "cannot allocate %zu bytes of workspace on the device", workspace);
  }
  workspace_ = Dev<void>(reinterpret_cast<void*>(static_cast<uintptr_t>(address)));
  return {};
}

bool CudaStream::ready() const {
  if (failed_) return false;
  if (status_.ok()) status_ = device_->use();
  return status_.ok();
}

void CudaStream::note(int error, const char* what, const char* which) const {
  if (error && status_.ok()) status_ = device_->driver->failure(error, (std::string(what) + which).c_str());
}

void CudaStream::launch(const cuda::Launch& launch, const void* params) const {
  if (launch.grid[0] == 0 || launch.grid[1] == 0 || !ready()) return;
  const auto kernel = static_cast<size_t>(launch.kernel);
  void* arguments[] = {const_cast<void*>(params)};
  note(device_->driver->LaunchKernel(device_->kernels[kernel], launch.grid[0], launch.grid[1], 1,
                                     launch.threads, 1, 1, launch.shared_bytes, handle_, arguments, nullptr),
       "launch ", cuda::kKernelNames[kernel]);
  last_ = cuda::kKernelNames[kernel];
  if (device_->waits && ready()) note(device_->driver->StreamSynchronize(handle_), "finish ", last_);
}

void CudaStream::clear(Dev<void> to, size_t bytes) const {
  if (bytes == 0 || !ready()) return;
  note(device_->driver->MemsetD8Async(device_address(to), 0, bytes, handle_), "clear memory");
}

void CudaStream::copy(Dev<void> to, Dev<const void> from, size_t bytes) const {
  if (bytes == 0 || !ready()) return;
  note(device_->driver->MemcpyDtoDAsync(device_address(to), device_address(from), bytes, handle_),
       "copy memory");
}

void CudaStream::copy_in(Dev<void> to, const void* host, size_t bytes) const {
  if (bytes == 0 || !ready()) return;
  note(device_->driver->MemcpyHtoDAsync(device_address(to), host, bytes, handle_), "copy to the device");
}

void CudaStream::copy_out(void* host, Dev<const void> from, size_t bytes) const {
  if (bytes == 0 || !ready()) return;
  note(device_->driver->MemcpyDtoHAsync(host, device_address(from), bytes, handle_), "copy from the device");
}

void CudaStream::forget_steps() {
  for (const auto& [shape, graph] : recorded_) device_->driver->GraphExecDestroy(graph);
  recorded_.clear();
}

bool CudaStream::begin(const LaunchShape& shape) {
  constexpr int kThreadLocal = 1;
  constexpr size_t kMostSteps = 64;  // recorded; a stream repeats few, but prompts may have any length
  if (!ready() || device_->waits) return true;
  recording_.assign(shape.words, shape.words + shape.count);
  const auto found = recorded_.find(recording_);
  if (found != recorded_.end()) {
    note(device_->driver->GraphLaunch(found->second, handle_), "repeat a step");
    return false;
  }
  if (recorded_.size() == kMostSteps) {
    note(device_->driver->StreamSynchronize(handle_), "finish what came before ", last_);
    forget_steps();
    if (!ready()) return true;
  }
  note(device_->driver->StreamBeginCapture(handle_, kThreadLocal), "record a step");
  return true;
}

void CudaStream::end() {
  if (failed_ || device_->waits || !device_->use().ok()) return;
  const cuda::Driver& driver = *device_->driver;
  cuda::GraphHandle* graph = nullptr;
  cuda::GraphExecHandle* exec = nullptr;
  note(driver.StreamEndCapture(handle_, &graph), "record a step");
  if (graph && status_.ok()) {
    note(driver.GraphInstantiate(&exec, graph, 0), "prepare a step");
    if (exec) {
      recorded_[recording_] = exec;
      if (status_.ok()) note(driver.GraphLaunch(exec, handle_), "repeat a step");
    }
  }
  if (graph) driver.GraphDestroy(graph);
}

Status CudaStream::synchronize() {
  if (failed_) {
    return fail(Error::kDevice, "the CUDA device failed before, and what it had computed is lost; start anew");
  }
  // Also after an error: nothing may be written to the host any more.
  if (device_->use().ok()) {
    note(device_->driver->StreamSynchronize(handle_), "finish what was launched up to ", last_);
  }
  failed_ = !status_.ok();
  return status_;
}

}  // namespace lsrt
