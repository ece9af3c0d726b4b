// Float32 linear layers by XNNPACK and, as it knows no other, pthreadpool.
#include <pthreadpool.h>
#include <xnnpack.h>

#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/device/cpu/cpu.h"
#include "runtime/device/cpu/float_linear.h"

namespace lsrt {
namespace {

class XnnLinear : public FloatLinear {
 public:
  xnn_operator_t op = nullptr;

  ~XnnLinear() override { xnn_delete_operator(op); }

  void run(const CpuStream& stream, const float* x, size_t rows, float* y) const override {
    std::lock_guard<std::mutex> lock(mutex_);
    auto* pool = static_cast<pthreadpool_t>(stream.float_threads());
    xnn_status status = xnn_reshape_fully_connected_nc_f32(op, rows, pool);
    if (status == xnn_status_success) status = xnn_setup_fully_connected_nc_f32(op, x, y);
    if (status == xnn_status_success) status = xnn_run_operator(op, pool);
    if (status == xnn_status_success) return;
    stream.fail(fail(status == xnn_status_out_of_memory ? Error::kMemory : Error::kDevice,
                     "XNNPACK cannot compute a %zu x %zu layer of %zu rows (status %d)", outputs, inputs,
                     rows, static_cast<int>(status)));
  }

 private:
  mutable std::mutex mutex_;  // an XNNPACK operator holds the arguments of its run
};

// Whether the system gives so many more threads now.
bool can_start(size_t threads) {
  std::mutex mutex;
  std::vector<std::thread> started;
  bool all = true;
  {
    std::lock_guard<std::mutex> lock(mutex);  // none ends before all have begun
    try {
      started.reserve(threads);
      while (started.size() < threads)
        started.emplace_back([&mutex] { std::lock_guard<std::mutex> wait(mutex); });
    } catch (...) {  // no thread, or no memory for one
      all = false;
    }
  }
  for (std::thread& thread : started) thread.join();
  return all;
}

}  // namespace

Result<std::unique_ptr<FloatLinear>> FloatLinear::create(const LinearView& view, const RowKernels&) {
  if (xnn_initialize(nullptr) != xnn_status_success) {
    return fail(
        Error::kUnsupported,
        "XNNPACK, which computes float32 layers, does not start: either /proc is not mounted or this CPU is "
        "too old for it; int8 models, converted with --no-golden, do without it, and so does a build with "
        "LSRT_XNNPACK=OFF");
  }
  auto linear = std::make_unique<XnnLinear>();
  const float infinity = std::numeric_limits<float>::infinity();
  const xnn_status status = xnn_create_fully_connected_nc_f32(
      view.inputs, view.outputs, view.inputs, view.outputs, view.weight.floats(), view.bias, -infinity,
      infinity,
      /*flags=*/0, /*code_cache=*/nullptr, /*weights_cache=*/nullptr, &linear->op);
  if (status != xnn_status_success) {
    return fail(Error::kMemory, "XNNPACK cannot prepare a %zu x %zu layer (status %d)", view.outputs,
                view.inputs, static_cast<int>(status));
  }
  return std::unique_ptr<FloatLinear>(std::move(linear));
}

std::shared_ptr<void> make_float_threads(size_t threads) {
  // pthreadpool waits for ever for a thread that could not be started.
  if (threads <= 1 || !can_start(threads - 1)) return nullptr;
  return std::shared_ptr<pthreadpool>(pthreadpool_create(threads), pthreadpool_destroy);
}

}  // namespace lsrt
