// What the dot product and the matrix multiply variant of gemm share: the packed format and the end of a
// product.
#pragma once

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/gemm.h"

namespace lsrt {
namespace neondot {
namespace {

inline size_t packed_row_bytes(size_t depth) { return round_up(depth, 64); }

struct Product {
  const int8_t* packed;
  size_t row_bytes;
  const RowScale* row_scale;
  const PanelWeights& weights;
  size_t panel_begin;  // that of out[0]
  float* out;
  size_t ld;
};

// Corrects, scales, biases and stores outputs n .. n + 3 of one row, those that exist.
inline void store4(const Product& p, size_t row, size_t n, int32x4_t dot) {
  if (n >= p.weights.outputs) return;
  const bool whole = n + 4 <= p.weights.outputs;
  const size_t bytes = (whole ? 4 : p.weights.outputs - n) * sizeof(float);
  const RowScale s = p.row_scale[row];
  const int32x4_t sum = vmlsq_n_s32(dot, vld1q_s32(p.weights.sum + n), s.zero_point);
  const float32x4_t scale = vmulq_n_f32(vld1q_f32(p.weights.scale + n), s.scale);
  float bias[4] = {};
  if (p.weights.bias) __builtin_memcpy(bias, p.weights.bias + n, bytes);
  const float32x4_t v = vaddq_f32(vmulq_f32(vcvtq_f32_s32(sum), scale), vld1q_f32(bias));
  float* out = p.out + row * p.ld + (n - p.panel_begin * kPanelOutputs);
  if (whole) {
    vst1q_f32(out, v);
  } else {
    __builtin_memcpy(out, &v, bytes);
  }
}

}  // namespace
}  // namespace neondot
}  // namespace lsrt
