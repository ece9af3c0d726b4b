// What a device does for the models' code, in two parts: this narrow core (memory, streams, copies), and
// tables of operations (ops_*.h), each a launch: a plain function over device addresses, executed in order on
// a Stream. Launches never fail and never allocate; an error sticks to the stream and comes back from
// synchronize(). The models' code never touches device memory and calls no kernel but by a launch, so that a
// backend may put memory and work where it likes. No launch takes a pointer of the host's.
//
// Rows are float32 and contiguous. All results are independent of the number of threads and of how rows are
// grouped into launches; in int8 models, to the last bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/status.h"
#include "runtime/device/dev.h"
#include "runtime/device/ops_causal.h"
#include "runtime/device/ops_choose.h"
#include "runtime/device/ops_filter.h"
#include "runtime/device/ops_grouped.h"
#include "runtime/device/ops_image.h"
#include "runtime/device/ops_linear.h"
#include "runtime/device/ops_rows.h"
#include "runtime/device/ops_scan.h"
#include "runtime/device/stream.h"
#include "runtime/model/model.h"

namespace lsrt {

struct BackendOptions {
  std::string name = "cpu";
  std::string isa;  // kernel set; "": LSRT_ISA or the best one
  // false: weights of linear layers are prepared for each launch and then given back, so that those of one
  // layer are in memory at a time: for models that are run once. Of a mapped file only.
  bool keep_weights = true;
};

struct BackendInfo {
  const char* name;
  const char* isa;
  // Rows that a layer of a classifier computes at a time, so that they stay in the cache; a multiple of
  // Landmarks::kRowBlock. SIZE_MAX: all.
  size_t tile_rows;
};

// Null: this device cannot. Every device has linear layers and rows.
struct Ops {
  const LinearOps* linear;
  const RowOps* rows;
  const CausalOps* causal;
  const GroupedOps* grouped;
  const ImageOps* image;
  const ScanOps* scan;
  const FilterOps* filter;
  const ChooseOps* choose;
};

// One for each model, which it keeps. Thread-safe but for what a Stream does.
class Backend {
 public:
  // model: null where nothing of it will be used. Errors: kArgument, kUnsupported.
  static Result<std::unique_ptr<Backend>> create(const BackendOptions& options,
                                                 std::shared_ptr<const Model> model);
  static const char* names();  // those of this build: "cpu, cuda"
  virtual ~Backend() = default;

  const Model& model() const { return *model_; }
  virtual BackendInfo info() const = 0;
  virtual const Ops& ops() const = 0;

  // Prepares a linear layer of the model, once for equal views. The backend owns it.
  virtual Result<const Linear*> prepare(const LinearView& view) = 0;
  // Where the device has what lies at this address of the model's bytes; null for null.
  virtual Dev<const void> weights(const void* in_file) const = 0;

  // Memory of the device, 64-byte aligned and zeroed. Null bytes are an address, too.
  virtual Result<Dev<void>> allocate(size_t bytes) = 0;
  // Waits for all launches that may use it. Null is allowed.
  virtual void release(Dev<void> memory) = 0;

  // Errors: kArgument (threads), kMemory.
  virtual Result<std::unique_ptr<Stream>> create_stream(const StreamPlan& plan) = 0;
  // The host's bytes have been read when it returns.
  virtual void copy_in(Stream& stream, Dev<void> to, const void* host, size_t bytes) = 0;
  // The host's bytes are there after synchronize(), until which they must live.
  virtual void copy_out(Stream& stream, void* host, Dev<const void> from, size_t bytes) = 0;

  // Around launches that will be repeated, such as the step of a stream. false: launches of an equal shape
  // were recorded before and have now been repeated; the caller makes none, and no end(). So what a launch
  // takes by value may depend on the shape only; what differs from step to step (StepNumbers, tokens) lies in
  // device memory, at the same addresses, and is copied in before begin().
  virtual bool begin(Stream&, const LaunchShape&) { return true; }
  virtual void end(Stream&) {}
  // Waits for all launches; the first error since the last call.
  virtual Status synchronize(Stream& stream) = 0;

  // Bytes between two pieces of a block, which nobody may touch. Where a sanitizer looks on, it is told.
  virtual void fence(Dev<void>, size_t) const {}

  // Streams that are created from now on report their launches. observer must outlive them; null: to nobody.
  void observe(LaunchObserver* observer) { observer_ = observer; }

  template <typename T>
  Dev<const T> weights_of(const T* in_file) const {
    return weights(in_file).template as<const T>();
  }
  DeviceNorm norm(const NormView& view) const {
    return {weights_of(view.gamma), weights_of(view.beta), view.eps, view.kind};
  }
  DeviceTensor tensor(const TensorView& view) const;

 protected:
  explicit Backend(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  LaunchObserver* observer() const { return observer_; }

 private:
  std::shared_ptr<const Model> model_;
  LaunchObserver* observer_ = nullptr;
};

// Each device's own, defined in its folder; Backend::create chooses.
// Errors: kArgument, kUnsupported (kernel set).
Result<std::unique_ptr<Backend>> create_cpu_backend(const BackendOptions& options,
                                                    std::shared_ptr<const Model> model);
// Errors: kUnsupported (no driver, no device, none that the kernels are for), kDevice, kMemory.
Result<std::unique_ptr<Backend>> create_cuda_backend(std::shared_ptr<const Model> model);

}  // namespace lsrt
