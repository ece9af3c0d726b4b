// The end of a product, shared by the dot product and the matrix multiply variant.
#pragma once

#include <arm_neon.h>

#include "kernels/gemm/product.h"

namespace lsrt {
namespace neondot {
namespace {

// Corrects, scales, biases and stores outputs n .. n + 3 of one row.
inline __attribute__((always_inline)) void store4(const Product& p, size_t row, size_t n, int32x4_t dot) {
  const RowScale s = p.row_scale[row];
  const int32x4_t sum = vmlsq_n_s32(dot, vld1q_s32(p.sum + n), s.zero_point);
  const float32x4_t scale = vmulq_n_f32(vld1q_f32(p.scale + n), s.scale);
  const float32x4_t bias = p.bias ? vld1q_f32(p.bias + n) : vdupq_n_f32(0.0f);
  vst1q_f32(p.out + row * p.ld + n, vaddq_f32(vmulq_f32(vcvtq_f32_s32(sum), scale), bias));
}

// all_rows(product of one panel, rows) for all panels.
template <typename AllRows>
inline void all_panels(Product p, const PanelWeights& weights, size_t rows, size_t panel_begin,
                       size_t panel_end, const AllRows& all_rows) {
  const size_t whole = weights.outputs / kPanelOutputs;
  for (size_t panel = panel_begin; panel < panel_end && panel < whole; ++panel, p = p.at(0, 1))
    all_rows(p, rows);
  if (panel_end > whole) last_panel(p, rows, weights.outputs % kPanelOutputs, all_rows);
}

}  // namespace
}  // namespace neondot
}  // namespace lsrt
