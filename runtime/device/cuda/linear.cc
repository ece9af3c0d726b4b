// Linear layers on CUDA: one launch for a row, else rows are quantized first.
#include "runtime/device/cuda/cuda.h"
#include "runtime/device/cuda/params.h"
#include "runtime/device/device_carver.h"

namespace lsrt {
namespace {

struct QuantizedRows {
  Dev<RowScale> scale;
  Dev<int8_t> rows;  // [rows, round_up(inputs, 64)]

  QuantizedRows(size_t n, size_t inputs, DeviceCarver carver) {
    scale = carver.take<RowScale>(n);
    rows = carver.take<int8_t>(n * round_up(inputs, 64));
    bytes = carver.used();
  }
  size_t bytes;
};

}  // namespace

void CudaLinearOps::plan(const LinearView& view, size_t rows, StreamPlan* plan) const {
  plan->need(QuantizedRows(rows, view.inputs, DeviceCarver()).bytes);
}

void CudaLinearOps::linear(Stream& stream, const Linear& linear, Dev<const float> x, size_t rows,
                           Activation activation, Dev<float> y) const {
  const auto launched = stream.launched("linear", rows, linear.outputs, linear.inputs);
  const CudaStream& cuda = cuda_stream(stream);
  const auto& layer = static_cast<const CudaLinear&>(linear);
  const cuda::Activate activate = cuda_activation(activation);
  const uint32_t outputs = word(layer.outputs), inputs = word(layer.inputs);
  if (layer.weight.type != DataType::kInt8) {
    cuda.launch(cuda::FloatLinearParams{layer.weight.data.as<const float>().address(), layer.bias.address(),
                                        x.address(), y.address(), word(rows), inputs, outputs, activate});
    return;
  }
  const cuda::Panels panels{layer.weight.data.as<const int8_t>().address(),
                            layer.weight.scales.address(),
                            layer.weight.sums.address(),
                            layer.bias.address(),
                            outputs,
                            inputs};
  if (rows == 1 && inputs <= cuda::kMaxGemvDepth) {
    cuda.launch(cuda::GemvParams{panels, x.address(), y.address(), activate});
    return;
  }
  const QuantizedRows quantized(rows, inputs, DeviceCarver(backend_, cuda.workspace()));
  cuda.launch(cuda::QuantizeParams{x.address(), quantized.rows.address(), quantized.scale.address(),
                                   word(rows), inputs});
  cuda.launch(cuda::ProductParams{panels, quantized.rows.address(), quantized.scale.address(), y.address(),
                                  word(rows), activate});
}

}  // namespace lsrt
