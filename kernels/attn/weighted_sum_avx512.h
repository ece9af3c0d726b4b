// Weighted sums with registers of AVX-512 VNNI: 14-bit weights are int16, values are widened to int16,
// vpdpwssd sums their products.
#pragma once

#include <string.h>

#include "kernels/attn/attn.h"
#include "kernels/simd/avx512.h"
#include "kernels/simd/vec_avx512.h"

namespace lsrt {
namespace avx512vnni {
namespace {

constexpr size_t kPrefetchBytes = 8192;

// At most 24 sums: the latency of vpdpwssd times two a cycle asks for that many.
constexpr size_t tile_rows(size_t panels) { return 12 / panels; }

// kPanels panels of 16 elements of kRows rows.
template <size_t kRows, size_t kPanels>
void tile(const Sums& s) {
  const uint16_t* a = s.weight;
  const int8_t* v = s.values;
  __m512i pairs[kRows][2 * kPanels];  // elements 0 .. 7 and 8 .. 15 of a panel, two half sums each
#pragma GCC unroll 12
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (size_t j = 0; j < 2 * kPanels; ++j) pairs[r][j] = _mm512_setzero_si512();
  }
  for (size_t g = 0; g < s.groups; ++g, a += kPanelDepth, v += s.group_bytes) {
    if constexpr (kPanels == 4) {  // few rows: values come from memory
#pragma GCC unroll 4
      for (size_t j = 0; j < kPanels; ++j)
        _mm_prefetch((const char*)(v + 64 * j + kPrefetchBytes), _MM_HINT_T0);
    }
    __m512i words[2 * kPanels];
#pragma GCC unroll 8
    for (size_t j = 0; j < 2 * kPanels; ++j) {
      words[j] = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i*)(v + 32 * j)));
    }
#pragma GCC unroll 12
    for (size_t r = 0; r < kRows; ++r) {
      int64_t four;
      memcpy(&four, a + r * s.ld_weight, sizeof four);
      const __m512i w = _mm512_set1_epi64(four);
#pragma GCC unroll 8
      for (size_t j = 0; j < 2 * kPanels; ++j) add_dot_words(pairs[r][j], w, words[j]);
    }
  }
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
#pragma GCC unroll 12
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (size_t j = 0; j < kPanels; ++j) {
      const __m512i low = pairs[r][2 * j], high = pairs[r][2 * j + 1];
      const __m512i sum = _mm512_add_epi32(_mm512_permutex2var_epi32(low, even, high),
                                           _mm512_permutex2var_epi32(low, odd, high));
      int32_t* acc = s.acc + r * s.ld_acc + j * kPanelOutputs;
      _mm512_storeu_si512(acc, _mm512_add_epi32(_mm512_loadu_si512(acc), sum));
    }
  }
}

// The tile of the given number of rows, at most kRows.
template <size_t kPanels, size_t kRows = tile_rows(kPanels)>
void tile_of(size_t rows, const Sums& s) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return tile_of<kPanels, kRows - 1>(rows, s);
  }
  tile<kRows, kPanels>(s);
}

// All rows of the panels from `panel` on, in tiles of about the same size.
template <size_t kPanels>
void all_rows(const Sums& s, size_t rows, size_t panel) {
  const size_t e = panel * kPanelOutputs;
  for (size_t row = 0, tiles = (rows + tile_rows(kPanels) - 1) / tile_rows(kPanels); tiles > 0; --tiles) {
    const size_t some = (rows - row + tiles - 1) / tiles;
    tile_of<kPanels>(some, {s.weight + row * s.ld_weight, s.ld_weight, s.values + e * kPanelDepth, s.groups,
                            s.group_bytes, s.acc + row * s.ld_acc + e, s.ld_acc});
    row += some;
  }
}

void weighted_sum(const uint16_t* weight, size_t ld_weight, size_t rows, const int8_t* values, size_t count,
                  size_t d_head, int32_t* acc, size_t ld_acc) {
  const Sums s = {weight, ld_weight, values, count / kPanelDepth, value_group_bytes(d_head), acc, ld_acc};
  const size_t panels = panel_count(d_head);
  size_t panel = 0;
  // With few rows the values come from memory: in one sweep.
  if (rows <= tile_rows(4)) {
    for (; panel + 4 <= panels; panel += 4) all_rows<4>(s, rows, panel);
  }
  for (; panel + 2 <= panels; panel += 2) all_rows<2>(s, rows, panel);
  if (panel < panels) all_rows<1>(s, rows, panel);
}

}  // namespace
}  // namespace avx512vnni
}  // namespace lsrt
