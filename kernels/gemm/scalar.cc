// The definition of the int8 matrix product: plain loops, never optimized.
#include <float.h>
#include <math.h>

#include "kernels/isa_sets.h"

namespace lsrt {
namespace scalar {
namespace {

// Packed row: the int8 values q, then zeros.
size_t packed_row_bytes(size_t depth) { return round_up(depth, 64); }

float clamp(float v, float lo, float hi) {  // NaN becomes lo
  v = v > lo ? v : lo;
  return v < hi ? v : hi;
}

RowScale quantize_row(const float* x, size_t depth, int8_t* q) {
  float lo = 0, hi = 0;
  for (size_t k = 0; k < depth; ++k) {
    lo = x[k] < lo ? x[k] : lo;
    hi = x[k] > hi ? x[k] : hi;
  }
  float scale = (hi - lo) / 255.0f;
  if (!(scale >= FLT_MIN && scale <= FLT_MAX)) scale = 1.0f;
  const int32_t zero_point = (int32_t)rintf(clamp(-128.0f - lo / scale, -128.0f, 127.0f));
  const float inverse = 1.0f / scale;
  for (size_t k = 0; k < depth; ++k) {
    // The bounds are integers, so clamping before rounding gives the same q and keeps the conversion in
    // range.
    const float v = clamp(x[k] * inverse, (float)(-128 - zero_point), (float)(127 - zero_point));
    q[k] = (int8_t)((int32_t)rintf(v) + zero_point);
  }
  return {scale, zero_point};
}

void pack_rows(const float* x, size_t ld, size_t rows, size_t depth, void* packed, RowScale* row_scale) {
  const size_t row_bytes = packed_row_bytes(depth);
  for (size_t i = 0; i < rows; ++i) {
    int8_t* q = (int8_t*)packed + i * row_bytes;
    row_scale[i] = quantize_row(x + i * ld, depth, q);
    for (size_t k = depth; k < row_bytes; ++k) q[k] = 0;
  }
}

void gemm(const void* packed, const RowScale* row_scale, size_t rows, const PanelWeights& weights,
          size_t panel_begin, size_t panel_end, float* out, size_t ld) {
  const size_t row_bytes = packed_row_bytes(weights.depth);
  for (size_t i = 0; i < rows; ++i) {
    const int8_t* q = (const int8_t*)packed + i * row_bytes;
    for (size_t n = panel_begin * kPanelOutputs; n < panel_end * kPanelOutputs && n < weights.outputs; ++n) {
      int32_t sum = 0;
      for (size_t k = 0; k < weights.depth; ++k) {
        sum += (q[k] - row_scale[i].zero_point) * weights.data[panel_offset(n, k, weights.depth)];
      }
      const float bias = weights.bias ? weights.bias[n] : 0.0f;
      out[i * ld + n - panel_begin * kPanelOutputs] =
          (float)sum * (row_scale[i].scale * weights.scale[n]) + bias;
    }
  }
}

}  // namespace

void provide(GemmKernels& k) {
  k.packed_row_bytes = packed_row_bytes;
  k.pack_rows = pack_rows;
  k.gemm = gemm;
}

}  // namespace scalar
}  // namespace lsrt
