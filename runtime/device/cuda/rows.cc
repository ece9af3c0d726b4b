// Rows, vectors, choices and pictures on CUDA.
#include "runtime/device/cuda/cuda.h"
#include "runtime/device/cuda/params.h"

namespace lsrt {

void CudaRowOps::add_norm(Stream& stream, const DeviceNorm& norm, size_t width, Dev<const float> residual,
                          size_t rows, Dev<float> x, Dev<float> y) const {
  const auto launched = stream.launched("add_norm", rows);
  cuda_stream(stream).launch(cuda::NormParams{cuda_norm(norm), x.address(), residual.address(),
                                              residual ? x.address() : nullptr, y.address(), width, width,
                                              width, width, word(width), word(rows)});
}

void CudaRowOps::layer_norm(Stream& stream, const DeviceNorm& norm, size_t width, Dev<const float> x,
                            size_t x_stride, size_t rows, Dev<float> y, size_t y_stride) const {
  const auto launched = stream.launched("layer_norm", rows);
  cuda_stream(stream).launch(cuda::NormParams{cuda_norm(norm), x.address(), nullptr, nullptr, y.address(),
                                              x_stride, 0, 0, y_stride, word(width), word(rows)});
}

void CudaRowOps::clear(Stream& stream, Dev<float> x, size_t n) const {
  const auto launched = stream.launched("clear", 1);
  cuda_stream(stream).clear(x, n * sizeof(float));
}

void CudaRowOps::add(Stream& stream, Dev<const float> x, size_t n, Dev<float> y) const {
  const auto launched = stream.launched("add", 1);
  cuda_stream(stream).launch(cuda::AddParams{x.address(), y.address(), n});
}

void CudaRowOps::embed(Stream& stream, const DeviceTensor& table, float scale, size_t width,
                       Dev<const int32_t> tokens, size_t rows, Dev<const float> positions,
                       Dev<float> y) const {
  const auto launched = stream.launched("embed", rows);
  const float* scales = table.type == DataType::kInt8 ? table.scales.address() : nullptr;
  cuda_stream(stream).launch(cuda::EmbedParams{table.data.address(), scales, tokens.address(),
                                               positions.address(), y.address(), scale, word(width),
                                               word(rows)});
}

void CudaRowOps::mean_rows(Stream& stream, Dev<const float> x, size_t rows, size_t width, float divisor,
                           Dev<float> out) const {
  const auto launched = stream.launched("mean_rows", rows);
  cuda_stream(stream).launch(
      cuda::MeanRowsParams{x.address(), out.address(), divisor, word(rows), word(width)});
}

void CudaRowOps::compare(Stream& stream, Dev<const float> features, size_t width, Dev<float> out) const {
  const auto launched = stream.launched("compare", 1);
  cuda_stream(stream).launch(cuda::CompareParams{features.address(), out.address(), word(width)});
}

void CudaRowOps::log_softmax(Stream& stream, size_t width, size_t rows, Dev<float> x) const {
  const auto launched = stream.launched("log_softmax", rows);
  cuda_stream(stream).launch(cuda::LogSoftmaxParams{x.address(), word(width), word(rows)});
}

void CudaChooseOps::choose(Stream& stream, const Choice& c) const {
  const auto launched = stream.launched("choose", 1);
  const Draw& d = c.draw;
  cuda_stream(stream).launch(cuda::ChooseParams{c.logprobs.address(), c.with_text.address(),
                                                c.penalized.address(), c.scratch.address(), c.token.address(),
                                                d.uniform, d.temperature, d.top_p, d.min_p, d.repeat_penalty,
                                                d.top_k, word(c.vocabulary), word(c.penalized_count)});
}

void CudaImageOps::extract_patches(Stream& stream, const PatchSource& source, Dev<float> patches) const {
  const auto launched = stream.launched("extract_patches", source.grid * source.grid);
  cuda_stream(stream).launch(cuda::PatchesParams{source.data.address(), patches.address(),
                                                 word(source.channels), word(source.grid), word(source.patch),
                                                 source.layout == PatchSource::Layout::kRows});
}

}  // namespace lsrt
