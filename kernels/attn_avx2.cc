// Weighted sums for AVX2: a 14-bit weight is an int16, a value cache is a panel, so this is the micro-kernel
// of gemm.
#include <immintrin.h>

#include "kernels/columns.h"
#include "kernels/isa_sets.h"
#include "kernels/tile_avx2.h"
#include "kernels/vec_avx2.h"

namespace lsrt {
namespace avx2 {
namespace {

struct Sums {
  const int16_t* weight;
  size_t ld_weight;
  const int8_t* values;
  size_t panel_stride;
  size_t groups;
  int32_t* acc;
  size_t ld_acc;
};

// Elements e .. e + 7 (+ 8 with kHalves = 2) of kRows rows.
template <size_t kRows, size_t kHalves>
inline __attribute__((always_inline)) void tile_sums(const Sums& s, size_t row, size_t e) {
  const int8_t* v = s.values + e / kPanelOutputs * s.panel_stride + e % kPanelOutputs * kPanelDepth;
  __m256i sums[kRows][kHalves];
  tile<kRows, kHalves>(s.weight + row * s.ld_weight, s.ld_weight, v, s.groups, sums);
#pragma GCC unroll 6
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (size_t h = 0; h < kHalves; ++h) {
      __m256i* acc = (__m256i*)(s.acc + (row + r) * s.ld_acc + e + 8 * h);
      _mm256_storeu_si256(acc, _mm256_add_epi32(_mm256_loadu_si256(acc), sums[r][h]));
    }
  }
}

void half_panel(const Sums& s, size_t rows, size_t e) {
  size_t row = 0;
  for (; row + kTileRows <= rows; row += kTileRows) tile_sums<kTileRows, 1>(s, row, e);
  switch (rows - row) {
    case 1:
      return tile_sums<1, 1>(s, row, e);
    case 2:
      return tile_sums<2, 1>(s, row, e);
    case 3:
      return tile_sums<3, 1>(s, row, e);
    case 4:
      return tile_sums<4, 1>(s, row, e);
    case 5:
      return tile_sums<5, 1>(s, row, e);
  }
}

void weighted_sum(const uint16_t* weight, size_t ld_weight, size_t rows, const int8_t* values,
                  size_t panel_stride, size_t count, size_t d_head, int32_t* acc, size_t ld_acc) {
  if (count == 0) return;
  const Sums s = {(const int16_t*)weight, ld_weight, values, panel_stride, count / kPanelDepth, acc, ld_acc};
  for (size_t e = 0; e < d_head; e += kPanelOutputs) {
    switch (rows) {
      case 1:
        tile_sums<1, 2>(s, 0, e);
        break;
      case 2:
        tile_sums<2, 2>(s, 0, e);
        break;
      default:
        half_panel(s, rows, e);
        half_panel(s, rows, e + 8);
    }
  }
}

}  // namespace

const AttentionKernels attn_kernels = {weighted_sum, weighted_rows_of<Vector>};

}  // namespace avx2
}  // namespace lsrt
