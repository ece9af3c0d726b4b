// int8 matrix product for ARM with dot product instructions. Packed row: the int8 values q; the sums of the
// weights take zero_point out again.
#include <arm_neon.h>
#include <string.h>

#include "kernels/gemm/product_neondot.h"
#include "kernels/isa_sets.h"
#include "kernels/simd/rows_simd.h"
#include "kernels/simd/vec_neondot.h"

namespace lsrt {
namespace neondot {
namespace {

constexpr size_t kTileRows = 4;

void pack_rows(const float* x, size_t ld, size_t rows, size_t depth, void* packed, RowScale* row_scale) {
  const size_t row_bytes = packed_row_bytes(depth);
  for (size_t i = 0; i < rows; ++i, x += ld) {
    Lanes<Vector> lo(0.0f), hi(0.0f);
    for_each<Vector>(depth, [&](size_t k, size_t j, auto at) {
      lo.v[j] = min4(at.load(x + k), lo.v[j]);
      hi.v[j] = max4(at.load(x + k), hi.v[j]);
    });
    const float low = lo.fold_min();
    float scale = (hi.fold_max() - low) / 255.0f;
    if (!is_normal(scale)) scale = 1.0f;
    const int32_t zero_point =
        vgetq_lane_s32(quantize4(vdupq_n_f32(-128.0f - low / scale), 1.0f, -128.0f, 127.0f), 0);
    row_scale[i] = {scale, zero_point};

    int8_t* q = (int8_t*)packed + i * row_bytes;
    // Clamping to these integers before rounding gives the same q and keeps the conversion in range.
    const float inverse = 1.0f / scale, lowest = (float)(-128 - zero_point),
                highest = (float)(127 - zero_point);
    const auto words = [&](float32x4_t a, float32x4_t b) {
      const int16x4_t low = vmovn_s32(quantize4(a, inverse, lowest, highest));
      const int16x8_t both = vmovn_high_s32(low, quantize4(b, inverse, lowest, highest));
      return vaddq_s16(both, vdupq_n_s16((int16_t)zero_point));
    };
    for (size_t k = 0; k < depth;
         k += 16) {  // the weights behind the last input are zero, whatever q is there
      float part[16] = {};
      const float* from = x + k;
      if (k + 16 > depth) {
        memcpy(part, from, (depth - k) * sizeof(float));
        from = part;
      }
      const int16x8_t low = words(vld1q_f32(from), vld1q_f32(from + 4));
      const int16x8_t high = words(vld1q_f32(from + 8), vld1q_f32(from + 12));
      vst1q_s8(q + k, vmovn_high_s16(vmovn_s16(low), high));
    }
  }
}

// Adds four depth of kRows rows: lane kLane of a[r], four int8 of the row, with the 16 outputs of group w.
template <size_t kRows, int kLane>
inline __attribute__((always_inline)) void add_group(const int8x16_t (&a)[kRows], const int8_t* w,
                                                     int32x4_t (&acc)[kRows][4]) {
#pragma GCC unroll 4
  for (size_t j = 0; j < 4; ++j) {
    const int8x16_t weights = vld1q_s8(w + 16 * j);
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) acc[r][j] = vdotq_laneq_s32(acc[r][j], weights, a[r], kLane);
  }
}

// kRows rows of one panel. One or two rows have two sums of everything, so that no sum waits for itself.
template <size_t kRows>
void tile(const Product& p) {
  constexpr size_t kSums = kRows <= 2 ? 2 : 1;
  const int8_t* a = (const int8_t*)p.packed;
  const int8_t* w = p.weights;
  int32x4_t acc[2][kRows][4];
#pragma GCC unroll 2
  for (size_t s = 0; s < kSums; ++s) {
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (size_t j = 0; j < 4; ++j) acc[s][r][j] = vdupq_n_s32(0);
    }
  }
  const size_t whole = p.groups / 4 * 4;
  int8x16_t x[kRows];  // packed rows are long enough for whole loads
  for (size_t g = 0; g < whole; g += 4, a += 16, w += 256) {
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) x[r] = vld1q_s8(a + r * p.row_bytes);
    add_group<kRows, 0>(x, w, acc[0]);
    add_group<kRows, 1>(x, w + 64, acc[kSums - 1]);
    add_group<kRows, 2>(x, w + 128, acc[0]);
    add_group<kRows, 3>(x, w + 192, acc[kSums - 1]);
  }
  if (whole < p.groups) {
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) x[r] = vld1q_s8(a + r * p.row_bytes);
    add_group<kRows, 0>(x, w, acc[0]);
    if (whole + 1 < p.groups) add_group<kRows, 1>(x, w + 64, acc[0]);
    if (whole + 2 < p.groups) add_group<kRows, 2>(x, w + 128, acc[0]);
  }
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) {
      store4(p, r, 4 * j, kSums == 1 ? acc[0][r][j] : vaddq_s32(acc[0][r][j], acc[kSums - 1][r][j]));
    }
  }
}

void all_rows(const Product& p, size_t rows) {
  size_t row = 0;
  for (; row + kTileRows <= rows; row += kTileRows) tile<kTileRows>(p.at(row, 0));
  switch (rows - row) {
    case 1:
      return tile<1>(p.at(row, 0));
    case 2:
      return tile<2>(p.at(row, 0));
    case 3:
      return tile<3>(p.at(row, 0));
  }
}

void gemm(const void* packed, const RowScale* row_scale, size_t rows, const PanelWeights& weights,
          size_t panel_begin, size_t panel_end, float* out, size_t ld) {
  all_panels({packed, row_scale, weights, panel_begin, out, ld}, weights, rows, panel_begin, panel_end,
             all_rows);
}

}  // namespace

void provide(GemmKernels& k) {
  k.packed_row_bytes = packed_row_bytes;
  k.pack_rows = pack_rows;
  k.gemm = gemm;
}

}  // namespace neondot
}  // namespace lsrt
