// int8 matrix product for ARM with int8 matrix multiply: smmla adds 2 rows x 2 outputs over 8 depth. Rows are
// packed as for neondot.
#include <arm_neon.h>

#include "kernels/gemm/product_neondot.h"
#include "kernels/isa_sets.h"

namespace lsrt {
namespace neoni8mm {
namespace {

constexpr size_t kTilePairs = 3;  // of rows

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
#pragma GCC unroll 3
    for (size_t i = 0; i < kPairs; ++i) {
      acc[i][2 * j] = vmmlaq_s32(acc[i][2 * j], a[i], low);
      acc[i][2 * j + 1] = vmmlaq_s32(acc[i][2 * j + 1], a[i], high);
    }
  }
}

// `rows` rows of one panel, 2 kPairs or one less: then the last row is computed twice.
template <size_t kPairs>
void tile(const Product& p, size_t rows) {
  const int8_t* w = p.weights;
  const int8_t* a[kPairs][2];
  int32x4_t acc[kPairs][8];
#pragma GCC unroll 3
  for (size_t i = 0; i < kPairs; ++i) {
    a[i][0] = (const int8_t*)p.packed + 2 * i * p.row_bytes;
    a[i][1] = 2 * i + 1 < rows ? a[i][0] + p.row_bytes : a[i][0];
#pragma GCC unroll 8
    for (size_t j = 0; j < 8; ++j) acc[i][j] = vdupq_n_s32(0);
  }
  int8x16_t x[kPairs];
  size_t g = 0;
  for (; g + 2 <= p.groups; g += 2, w += 128) {
#pragma GCC unroll 3
    for (size_t i = 0; i < kPairs; ++i) {
      x[i] = vcombine_s8(vld1_s8(a[i][0] + kPanelDepth * g), vld1_s8(a[i][1] + kPanelDepth * g));
    }
    add_groups<kPairs>(x, w, w + 64, acc);
  }
  if (g < p.groups) {  // packed rows are long enough for whole loads
#pragma GCC unroll 3
    for (size_t i = 0; i < kPairs; ++i) {
      x[i] = vcombine_s8(vld1_s8(a[i][0] + kPanelDepth * g), vld1_s8(a[i][1] + kPanelDepth * g));
    }
    add_groups<kPairs>(x, w, nullptr, acc);
  }
#pragma GCC unroll 3
  for (size_t i = 0; i < kPairs; ++i) {
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) {
      const int32x4_t left = acc[i][2 * j], right = acc[i][2 * j + 1];
      neondot::store4(p, 2 * i, 4 * j, vcombine_s32(vget_low_s32(left), vget_low_s32(right)));
      if (2 * i + 1 < rows) {
        neondot::store4(p, 2 * i + 1, 4 * j, vcombine_s32(vget_high_s32(left), vget_high_s32(right)));
      }
    }
  }
}

void all_rows(const Product& p, size_t rows) {
  for (size_t row = 0; row < rows; row += 2 * kTilePairs) {
    const size_t left = rows - row;
    if (left > 4) {
      tile<3>(p.at(row, 0), left);
    } else if (left > 2) {
      tile<2>(p.at(row, 0), left);
    } else {
      tile<1>(p.at(row, 0), left);
    }
  }
}

void gemm(const void* packed, const RowScale* row_scale, size_t rows, const PanelWeights& weights,
          size_t panel_begin, size_t panel_end, float* out, size_t ld) {
  neondot::all_panels({packed, row_scale, weights, panel_begin, out, ld}, weights, rows, panel_begin,
                      panel_end, all_rows);
}

}  // namespace

void provide(GemmKernels& k) { k.gemm = gemm; }

}  // namespace neoni8mm
}  // namespace lsrt
