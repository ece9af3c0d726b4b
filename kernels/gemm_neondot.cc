// int8 matrix product for ARM with dot product instructions. Packed row: the int8 values q; the sums of the
// weights take zero_point out again.
#include <arm_neon.h>
#include <string.h>

#include "kernels/isa_sets.h"
#include "kernels/product_neondot.h"
#include "kernels/vec_neondot.h"

namespace lsrt {
namespace neondot {
namespace {

constexpr size_t kTileRows = 4;

void pack_rows(const float* x, size_t ld, size_t rows, size_t depth, void* packed, RowScale* row_scale) {
  const size_t row_bytes = packed_row_bytes(depth);
  for (size_t i = 0; i < rows; ++i, x += ld) {
    Lanes lo(0), hi(0);
    for_each4(depth, [&](size_t k, size_t j, auto at) {
      lo.v[j] = min4(at.load(x + k), lo.v[j]);
      hi.v[j] = max4(at.load(x + k), hi.v[j]);
    });
    const float low = fold_min(lo);
    float scale = (fold_max(hi) - low) / 255.0f;
    if (!is_normal(scale)) scale = 1.0f;
    const int32_t zero_point =
        vgetq_lane_s32(quantize4(vdupq_n_f32(-128.0f - low / scale), 1.0f, -128.0f, 127.0f), 0);
    row_scale[i] = {scale, zero_point};

    int8_t* q = (int8_t*)packed + i * row_bytes;
    memset(q + depth / 4 * 4, 0, row_bytes - depth / 4 * 4);
    for_each4(depth, [&](size_t k, size_t, auto at) {
      // Clamping to these integers before rounding gives the same q and keeps the conversion in range.
      const int32x4_t v =
          quantize4(at.load(x + k), 1.0f / scale, (float)(-128 - zero_point), (float)(127 - zero_point));
      const int16x4_t words = vmovn_s32(vaddq_s32(v, vdupq_n_s32(zero_point)));
      const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
      memcpy(q + k, &bytes, 4);  // the weights behind the last input are zero, whatever q is there
    });
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

template <size_t kRows>
void tile(const Product& p, size_t row, size_t panel) {
  const size_t groups = (p.weights.depth + kPanelDepth - 1) / kPanelDepth;
  const int8_t* a = p.packed + row * p.row_bytes;
  const int8_t* w = p.weights.data + panel * panel_bytes(p.weights.depth);
  int32x4_t acc[kRows][4];
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) acc[r][j] = vdupq_n_s32(0);
  }
  for (size_t g = 0; g < groups; g += 4, a += 16, w += 256) {  // packed rows are long enough for whole loads
    int8x16_t x[kRows];
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) x[r] = vld1q_s8(a + r * p.row_bytes);
    add_group<kRows, 0>(x, w, acc);
    if (g + 1 < groups) add_group<kRows, 1>(x, w + 64, acc);
    if (g + 2 < groups) add_group<kRows, 2>(x, w + 128, acc);
    if (g + 3 < groups) add_group<kRows, 3>(x, w + 192, acc);
  }
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) store4(p, row + r, panel * kPanelOutputs + 4 * j, acc[r][j]);
  }
}

void gemm(const void* packed, const RowScale* row_scale, size_t rows, const PanelWeights& weights,
          size_t panel_begin, size_t panel_end, float* out, size_t ld) {
  const Product p = {
      (const int8_t*)packed, packed_row_bytes(weights.depth), row_scale, weights, panel_begin, out, ld};
  for (size_t panel = panel_begin; panel < panel_end; ++panel) {
    size_t row = 0;
    for (; row + kTileRows <= rows; row += kTileRows) tile<kTileRows>(p, row, panel);
    switch (rows - row) {
      case 1:
        tile<1>(p, row, panel);
        break;
      case 2:
        tile<2>(p, row, panel);
        break;
      case 3:
        tile<3>(p, row, panel);
        break;
    }
  }
}

}  // namespace

const GemmKernels gemm_kernels = {packed_row_bytes, pack_rows, gemm};

}  // namespace neondot
}  // namespace lsrt
