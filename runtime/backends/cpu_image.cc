// Rows of images on the CPU: norms of rows apart, cutting into patches, pooling.
#include <cstring>

#include "runtime/backends/cpu.h"

namespace lsrt {

void CpuBackend::layer_norm(Stream& stream, const NormView& norm, size_t width, const float* x,
                            size_t x_stride, size_t rows, float* y, size_t y_stride) {
  static_cast<CpuStream&>(stream).parallel_rows(rows, [&](size_t i, size_t) {
    if (!norm) {
      std::memmove(y + i * y_stride, x + i * x_stride, width * sizeof(float));
      return;
    }
    kernels_.rows.layer_norm(x + i * x_stride, norm.gamma, norm.beta, norm.eps, width, y + i * y_stride);
  });
}

void CpuBackend::extract_patches(Stream& stream, const PatchSource& source, float* patches) {
  const size_t grid = source.grid, p = source.patch, side = source.side(), channels = source.channels;
  static_cast<CpuStream&>(stream).parallel(grid * grid, [&](size_t i, size_t) {
    const size_t top = i / grid * p, left = i % grid * p;
    float* out = patches + i * channels * p * p;
    if (source.layout == PatchSource::Layout::kPlanes) {
      for (size_t c = 0; c < channels; ++c) {
        for (size_t y = 0; y < p; ++y, out += p) {
          std::memcpy(out, source.data + (c * side + top + y) * side + left, p * sizeof(float));
        }
      }
      return;
    }
    for (size_t y = 0; y < p; ++y) {
      for (size_t x = 0; x < p; ++x) {
        const float* row = source.data + ((top + y) * side + left + x) * channels;
        for (size_t c = 0; c < channels; ++c) out[(c * p + y) * p + x] = row[c];
      }
    }
  });
}

void CpuBackend::mean_rows(Stream&, const float* x, size_t rows, size_t width, float divisor, float* out) {
  std::memset(out, 0, width * sizeof(float));
  for (size_t i = 0; i < rows; ++i) kernels_.rows.add(x + i * width, width, out);
  for (size_t k = 0; k < width; ++k) out[k] /= divisor;
}

void CpuBackend::compare(Stream&, const float* features, size_t width, float* out) {
  const float *a = features, *b = features + width;
  std::memcpy(out, features, 2 * width * sizeof(float));
  for (size_t k = 0; k < width; ++k) {
    out[2 * width + k] = a[k] * b[k];
    out[3 * width + k] = a[k] - b[k];
  }
}

}  // namespace lsrt
