// Rows and vectors on the CPU.
#include <algorithm>
#include <cstring>

#include "base/exact_math.h"
#include "runtime/device/cpu/cpu.h"

namespace lsrt {

void CpuRowOps::add_norm(Stream& stream, const DeviceNorm& norm, size_t width, Dev<const float> residual,
                         size_t rows, Dev<float> x, Dev<float> y) const {
  const auto launched = stream.launched("add_norm", rows);
  const float* add = residual.address();
  cpu_stream(stream).parallel_blocks(rows, [&](size_t first, size_t count, size_t) {
    float* block = x.address() + first * width;
    if (add) kernels_.rows.add(add + first * width, count * width, block);
    normalise(kernels_.rows, norm, width, block, width, count, y.address() + first * width, width);
  });
}

void CpuRowOps::layer_norm(Stream& stream, const DeviceNorm& norm, size_t width, Dev<const float> x,
                           size_t x_stride, size_t rows, Dev<float> y, size_t y_stride) const {
  const auto launched = stream.launched("layer_norm", rows);
  cpu_stream(stream).parallel_blocks(rows, [&](size_t first, size_t count, size_t) {
    const float* from = x.address() + first * x_stride;
    float* to = y.address() + first * y_stride;
    if (norm) {
      normalise(kernels_.rows, norm, width, from, x_stride, count, to, y_stride);
      return;
    }
    for (size_t i = 0; i < count; ++i)
      std::memmove(to + i * y_stride, from + i * x_stride, width * sizeof(float));
  });
}

void CpuRowOps::clear(Stream& stream, Dev<float> x, size_t n) const {
  const auto launched = stream.launched("clear", 1);
  std::memset(x.address(), 0, n * sizeof(float));
}

void CpuRowOps::add(Stream& stream, Dev<const float> x, size_t n, Dev<float> y) const {
  const auto launched = stream.launched("add", 1);
  constexpr size_t kBlock = 8192;  // floats of a task
  cpu_stream(stream).parallel((n + kBlock - 1) / kBlock, [&](size_t block, size_t) {
    const size_t first = block * kBlock;
    kernels_.rows.add(x.address() + first, std::min(kBlock, n - first), y.address() + first);
  });
}

void CpuRowOps::embed(Stream& stream, const DeviceTensor& table, float scale, size_t width,
                      Dev<const int32_t> tokens, size_t rows, Dev<const float> positions,
                      Dev<float> y) const {
  const auto launched = stream.launched("embed", rows);
  cpu_stream(stream).parallel_rows(rows, [&](size_t i, size_t) {
    const size_t token = tokens.address()[i];
    float* row = y.address() + i * width;
    if (table.type == DataType::kInt8) {
      const int8_t* panel = table.data.as<const int8_t>().address() +
                            token / kPanelOutputs * panel_bytes(width) + token % kPanelOutputs * kPanelDepth;
      const float row_scale = table.scales.address()[token] * scale;
      for (size_t k = 0; k < width; ++k) {
        row[k] = row_scale * panel[k / kPanelDepth * (kPanelOutputs * kPanelDepth) + k % kPanelDepth];
      }
    } else {
      const float* source = table.data.as<const float>().address() + token * width;
      for (size_t k = 0; k < width; ++k) row[k] = source[k] * scale;
    }
    if (positions) kernels_.rows.add(positions.address() + i * width, width, row);
  });
}

void CpuRowOps::mean_rows(Stream& stream, Dev<const float> x, size_t rows, size_t width, float divisor,
                          Dev<float> out) const {
  const auto launched = stream.launched("mean_rows", rows);
  float* mean = out.address();
  std::memset(mean, 0, width * sizeof(float));
  for (size_t i = 0; i < rows; ++i) kernels_.rows.add(x.address() + i * width, width, mean);
  for (size_t k = 0; k < width; ++k) mean[k] /= divisor;
}

void CpuRowOps::compare(Stream& stream, Dev<const float> features, size_t width, Dev<float> out) const {
  const auto launched = stream.launched("compare", 1);
  const float *a = features.address(), *b = a + width;
  float* to = out.address();
  std::memcpy(to, a, 2 * width * sizeof(float));
  for (size_t k = 0; k < width; ++k) {
    to[2 * width + k] = a[k] * b[k];
    to[3 * width + k] = a[k] - b[k];
  }
}

void CpuRowOps::log_softmax(Stream& stream, size_t width, size_t rows, Dev<float> x) const {
  constexpr size_t kLanes = 256;
  const auto launched = stream.launched("log_softmax", rows);
  cpu_stream(stream).parallel(rows, [&](size_t i, size_t) {
    float* row = x.address() + i * width;
    const float largest = *std::max_element(row, row + width);
    double sums[kLanes] = {}, terms[kLanes];
    for (size_t first = 0; first < width; first += kLanes) {
      const size_t count = std::min(kLanes, width - first);
      for (size_t k = 0; k < count; ++k) terms[k] = static_cast<double>(row[first + k]) - largest;
      exact_exp(terms, count);
      for (size_t k = 0; k < count; ++k) sums[k] += terms[k];
    }
    for (size_t half = kLanes / 2; half > 0; half /= 2) {
      for (size_t k = 0; k < half; ++k) sums[k] += sums[k + half];
    }
    const double shift = largest + exact_log(sums[0]);
    for (size_t k = 0; k < width; ++k) row[k] = static_cast<float>(row[k] - shift);
  });
}

}  // namespace lsrt
