// int8 matrix product for ARM with int8 matrix multiply: smmla adds 2 rows x 2 outputs over 8 depth. Rows are
// packed as for neondot.
#include <arm_neon.h>

#include "kernels/isa_sets.h"
#include "kernels/product_neondot.h"

namespace lsrt {
namespace neoni8mm {
namespace {

using neondot::Product;

constexpr size_t kTilePairs = 2;  // of rows

// Adds 8 depth: groups w0 and w1 (4 depth each) of 16 outputs; acc[i][j] = outputs 2 j, 2 j + 1 of row pair
// i.
template <size_t kPairs>
inline __attribute__((always_inline)) void add_groups(const int8x16_t (&a)[kPairs], const int8_t* w0,
                                                      const int8_t* w1, int32x4_t (&acc)[kPairs][8]) {
#pragma GCC unroll 4
  for (size_t j = 0; j < 4; ++j) {
    const int32x4_t first = vreinterpretq_s32_s8(vld1q_s8(w0 + 16 * j));
    const int32x4_t second = w1 ? vreinterpretq_s32_s8(vld1q_s8(w1 + 16 * j)) : vdupq_n_s32(0);
    const int8x16_t low = vreinterpretq_s8_s32(vzip1q_s32(first, second));
    const int8x16_t high = vreinterpretq_s8_s32(vzip2q_s32(first, second));
#pragma GCC unroll 2
    for (size_t i = 0; i < kPairs; ++i) {
      acc[i][2 * j] = vmmlaq_s32(acc[i][2 * j], a[i], low);
      acc[i][2 * j + 1] = vmmlaq_s32(acc[i][2 * j + 1], a[i], high);
    }
  }
}

// Rows row .. row + rows - 1, rows = 2 kPairs or one less: then the last row is computed twice.
template <size_t kPairs>
void tile(const Product& p, size_t row, size_t rows, size_t panel) {
  const size_t groups = (p.weights.depth + kPanelDepth - 1) / kPanelDepth;
  const int8_t* w = p.weights.data + panel * panel_bytes(p.weights.depth);
  const int8_t* a[kPairs][2];
  int32x4_t acc[kPairs][8];
#pragma GCC unroll 2
  for (size_t i = 0; i < kPairs; ++i) {
    a[i][0] = p.packed + (row + 2 * i) * p.row_bytes;
    a[i][1] = 2 * i + 1 < rows ? a[i][0] + p.row_bytes : a[i][0];
#pragma GCC unroll 8
    for (size_t j = 0; j < 8; ++j) acc[i][j] = vdupq_n_s32(0);
  }
  for (size_t g = 0; g < groups; g += 2, w += 128) {  // packed rows are long enough for whole loads
    int8x16_t x[kPairs];
#pragma GCC unroll 2
    for (size_t i = 0; i < kPairs; ++i) {
      x[i] = vcombine_s8(vld1_s8(a[i][0] + kPanelDepth * g), vld1_s8(a[i][1] + kPanelDepth * g));
    }
    add_groups<kPairs>(x, w, g + 1 < groups ? w + 64 : nullptr, acc);
  }
#pragma GCC unroll 2
  for (size_t i = 0; i < kPairs; ++i) {
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) {
      const size_t n = panel * kPanelOutputs + 4 * j;
      const int32x4_t left = acc[i][2 * j], right = acc[i][2 * j + 1];
      store4(p, row + 2 * i, n, vcombine_s32(vget_low_s32(left), vget_low_s32(right)));
      if (2 * i + 1 < rows) {
        store4(p, row + 2 * i + 1, n, vcombine_s32(vget_high_s32(left), vget_high_s32(right)));
      }
    }
  }
}

void gemm(const void* packed, const RowScale* row_scale, size_t rows, const PanelWeights& weights,
          size_t panel_begin, size_t panel_end, float* out, size_t ld) {
  const Product p = {(const int8_t*)packed,
                     neondot::packed_row_bytes(weights.depth),
                     row_scale,
                     weights,
                     panel_begin,
                     out,
                     ld};
  for (size_t panel = panel_begin; panel < panel_end; ++panel) {
    for (size_t row = 0; row < rows; row += 2 * kTilePairs) {
      const size_t left = rows - row;
      if (left > 2) {
        tile<2>(p, row, left, panel);
      } else {
        tile<1>(p, row, left, panel);
      }
    }
  }
}

}  // namespace

// The rest is that of neondot.
const GemmKernels gemm_kernels = {nullptr, nullptr, gemm};
const RowKernels row_kernels = {};
const AttentionKernels attn_kernels = {};

}  // namespace neoni8mm
}  // namespace lsrt
