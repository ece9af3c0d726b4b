// Float32 linear layers by plain loops, for builds without XNNPACK: a block of rows stays in the first level
// cache while all weights pass by. Every output is one dot product in the order of kernels/rows/rows.h, so
// that results depend on neither kernel set nor threads.
#include <algorithm>

#include "runtime/device/cpu/cpu.h"
#include "runtime/device/cpu/float_linear.h"

namespace lsrt {
namespace {

constexpr size_t kBlockBytes = 16 << 10;  // rows of one block
constexpr size_t kTaskOutputs = 64;

class PlainLinear : public FloatLinear {
 public:
  PlainLinear(const LinearView& view, const RowKernels& kernels)
      : weights_(view.weight.floats()), bias_(view.bias), kernels_(kernels) {
    inputs = view.inputs;
    outputs = view.outputs;
  }

  void run(const CpuStream& stream, const float* x, size_t rows, float* y) const override {
    const size_t block = std::max<size_t>(1, kBlockBytes / (inputs * sizeof(float)));
    const size_t blocks = (rows + block - 1) / block, shares = (outputs + kTaskOutputs - 1) / kTaskOutputs;
    stream.parallel(blocks * shares, [&](size_t task, size_t) {
      const size_t row = task / shares * block, row_end = std::min(rows, row + block);
      const size_t n_begin = task % shares * kTaskOutputs, n_end = std::min(outputs, n_begin + kTaskOutputs);
      for (size_t n = n_begin; n < n_end; ++n) {
        for (size_t i = row; i < row_end; ++i) {
          const float dot = kernels_.dot(x + i * inputs, weights_ + n * inputs, inputs);
          y[i * outputs + n] = bias_ ? dot + bias_[n] : dot;
        }
      }
    });
  }

 private:
  const float* weights_;  // [outputs, inputs]
  const float* bias_;     // [outputs] or null
  const RowKernels& kernels_;
};

}  // namespace

Result<std::unique_ptr<FloatLinear>> FloatLinear::create(const LinearView& view, const RowKernels& kernels) {
  return std::unique_ptr<FloatLinear>(new PlainLinear(view, kernels));
}

std::shared_ptr<void> make_float_threads(size_t) { return nullptr; }

}  // namespace lsrt
