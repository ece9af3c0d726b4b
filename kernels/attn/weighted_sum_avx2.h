// Weighted sums for registers of 256 bits: a 14-bit weight is an int16, a value cache is a panel whose depth
// is time, so this is the micro-kernel of AVX2's products; AVX-VNNI multiplies and adds in one instruction.
#pragma once

#include "kernels/attn/attn.h"
#include "kernels/simd/tile_avx2.h"

namespace lsrt {
namespace avx2 {
namespace {

// Elements e .. e + 7 (+ 8 with kHalves = 2) of kRows rows.
template <size_t kRows, size_t kHalves>
inline __attribute__((always_inline)) void tile_sums(const Sums& s, size_t row, size_t e) {
  __m256i sums[kRows][kHalves];
  tile<kRows, kHalves>((const int16_t*)s.weight + row * s.ld_weight, s.ld_weight, s.values + e * kPanelDepth,
                       s.groups, s.group_bytes, sums);
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

// One or two rows, for which values come from memory: all elements of a range of time before the next range.
template <size_t kRows>
void few_rows(const Sums& s, size_t d_head) {
  constexpr size_t kRange = 16;  // groups
  for (size_t g = 0; g < s.groups; g += kRange) {
    Sums range = s;
    range.weight += g * kPanelDepth;
    range.values += g * s.group_bytes;
    range.groups = s.groups - g < kRange ? s.groups - g : kRange;
    for (size_t e = 0; e < d_head; e += kPanelOutputs) tile_sums<kRows, 2>(range, 0, e);
  }
}

void weighted_sum(const uint16_t* weight, size_t ld_weight, size_t rows, const int8_t* values, size_t count,
                  size_t d_head, int32_t* acc, size_t ld_acc) {
  if (count == 0) return;
  const Sums s = {weight, ld_weight, values, count / kPanelDepth, value_group_bytes(d_head), acc, ld_acc};
  if (rows == 1) return few_rows<1>(s, d_head);
  if (rows == 2) return few_rows<2>(s, d_head);
  for (size_t e = 0; e < round_up(d_head, kPanelOutputs); e += 8) half_panel(s, rows, e);
}

}  // namespace
}  // namespace avx2
}  // namespace lsrt
