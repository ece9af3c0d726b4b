// The CUDA backend: the kernels of kernels/cuda on the driver's API. The model's bytes are copied to the
// device once, or read where they are by one that shares memory with the CPU; panels are used as they lie in
// the file.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/cuda/launch.h"
#include "runtime/device/backend.h"
#include "runtime/device/cuda/cuda_ops.h"
#include "runtime/device/cuda/driver.h"

namespace lsrt {

// A device and the kernels on it; what backend and streams share.
struct CudaDevice {
  const cuda::Driver* driver = nullptr;
  int index = 0;
  std::string name, isa;  // "sm_87"
  bool reads_host = false;       // registered memory of the host, which is its own
  bool reads_read_only = false;  // also where the host itself may not write
  // LSRT_CUDA_WAIT: each launch is waited for and no steps are recorded, so that an error names its launch.
  bool waits = false;
  cuda::ContextHandle* context = nullptr;
  cuda::ModuleHandle* module = nullptr;
  cuda::FunctionHandle* kernels[cuda::kKernels] = {};

  CudaDevice() = default;
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;
  ~CudaDevice();
  static Result<std::shared_ptr<CudaDevice>> open();
  // Of the calling thread, before anything is done to the device.
  Status use() const { return driver->check(driver->CtxSetCurrent(context), "use the device"); }
};

inline cuda::DeviceAddress device_address(Dev<const void> p) {
  return reinterpret_cast<uintptr_t>(p.address());
}

class CudaStream : public Stream {
 public:
  CudaStream(LaunchObserver* observer, std::shared_ptr<const CudaDevice> device)
      : Stream(observer), device_(std::move(device)) {}
  ~CudaStream() override;
  Status create(size_t workspace);

  Dev<void> workspace() const { return workspace_; }

  // After the first failure nothing is launched any more. synchronize() reports it once, with the launch's
  // name, and from then on that there was one: what the stream has computed is lost.
  template <typename Params>
  void launch(const Params& params) const {
    launch(cuda::launch_of(params), &params);
  }
  void clear(Dev<void> to, size_t bytes) const;
  void copy(Dev<void> to, Dev<const void> from, size_t bytes) const;
  void copy_in(Dev<void> to, const void* host, size_t bytes) const;
  void copy_out(void* host, Dev<const void> from, size_t bytes) const;

  bool begin(const LaunchShape& shape);
  void end();
  Status synchronize();

 private:
  void launch(const cuda::Launch& launch, const void* params) const;
  // Whether all is well, and this thread may go on.
  bool ready() const;
  void note(int error, const char* what, const char* which = "") const;
  void forget_steps();

  const std::shared_ptr<const CudaDevice> device_;
  cuda::StreamHandle* handle_ = nullptr;
  Dev<void> workspace_;
  mutable Status status_;          // the first failure
  bool failed_ = false;            // and has been reported
  mutable const char* last_ = "";  // launch
  std::vector<uint32_t> recording_;
  std::map<std::vector<uint32_t>, cuda::GraphExecHandle*> recorded_;  // by shape
};

inline const CudaStream& cuda_stream(const Stream& stream) { return static_cast<const CudaStream&>(stream); }

class CudaBackend : public Backend {
 public:
  CudaBackend(std::shared_ptr<const CudaDevice> device, std::shared_ptr<const Model> model);
  ~CudaBackend() override;
  // Of the model's bytes, or has the device use them where they are.
  Status upload();

  BackendInfo info() const override { return {"cuda", device_->isa.c_str(), SIZE_MAX}; }
  const Ops& ops() const override { return table_; }
  Result<const Linear*> prepare(const LinearView& view) override;
  Dev<const void> weights(const void* in_file) const override;
  Result<Dev<void>> allocate(size_t bytes) override;
  void release(Dev<void> memory) override;
  Result<std::unique_ptr<Stream>> create_stream(const StreamPlan& plan) override;
  void copy_in(Stream&, Dev<void> to, const void* host, size_t bytes) override;
  void copy_out(Stream&, void* host, Dev<const void> from, size_t bytes) override;
  bool begin(Stream& stream, const LaunchShape& shape) override {
    return static_cast<CudaStream&>(stream).begin(shape);
  }
  void end(Stream& stream) override { static_cast<CudaStream&>(stream).end(); }
  Status synchronize(Stream& stream) override { return static_cast<CudaStream&>(stream).synchronize(); }

 private:
  // A layer's arrays and extents: layers that share an address may still differ.
  using Key = std::tuple<const void*, const void*, const void*, size_t, size_t, DataType>;

  const std::shared_ptr<const CudaDevice> device_;
  CudaLinearOps linear_;
  CudaRowOps rows_;
  CudaCausalOps causal_;
  CudaGroupedOps grouped_;
  CudaImageOps image_;
  CudaScanOps scan_;
  CudaFilterOps filter_;
  CudaChooseOps choose_;
  const Ops table_;
  const bool has_model_;
  bool in_place_ = false;  // the device reads the host's
  Dev<void> weights_;  // the model's bytes
  std::mutex mutex_;   // of what follows
  std::map<Key, std::unique_ptr<Linear>> prepared_;
};

}  // namespace lsrt
