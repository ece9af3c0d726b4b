// Weighted sums for AVX-512 VNNI: 14-bit weights are int16, values are widened to int16, vpdpwssd sums their
// products.
#include <string.h>

#include "kernels/avx512.h"
#include "kernels/isa_sets.h"

namespace lsrt {
namespace avx512vnni {
namespace {

constexpr size_t kTileRows = 6;

struct Sums {
  const uint16_t* weight;
  size_t ld_weight;
  const int8_t* values;
  size_t panel_stride;
  size_t groups;
  int32_t* acc;
  size_t ld_acc;
};

// The 16 elements of one panel of kRows rows.
template <size_t kRows>
void tile(const Sums& s, size_t row, size_t panel) {
  const uint16_t* a = s.weight + row * s.ld_weight;
  const int8_t* v = s.values + panel * s.panel_stride;
  __m512i pairs[kRows][2];  // elements 0 .. 7 and 8 .. 15, two half sums each
#pragma GCC unroll 6
  for (size_t r = 0; r < kRows; ++r) pairs[r][0] = pairs[r][1] = _mm512_setzero_si512();
  for (size_t g = 0; g < s.groups; ++g) {
    const __m512i v0 = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i*)(v + 64 * g)));
    const __m512i v1 = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i*)(v + 64 * g + 32)));
#pragma GCC unroll 6
    for (size_t r = 0; r < kRows; ++r) {
      int64_t four;
      memcpy(&four, a + r * s.ld_weight + kPanelDepth * g, sizeof four);
      const __m512i w = _mm512_set1_epi64(four);
      pairs[r][0] = _mm512_dpwssd_epi32(pairs[r][0], w, v0);
      pairs[r][1] = _mm512_dpwssd_epi32(pairs[r][1], w, v1);
    }
  }
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
#pragma GCC unroll 6
  for (size_t r = 0; r < kRows; ++r) {
    const __m512i sum = _mm512_add_epi32(_mm512_permutex2var_epi32(pairs[r][0], even, pairs[r][1]),
                                         _mm512_permutex2var_epi32(pairs[r][0], odd, pairs[r][1]));
    int32_t* acc = s.acc + (row + r) * s.ld_acc + panel * kPanelOutputs;
    _mm512_storeu_si512(acc, _mm512_add_epi32(_mm512_loadu_si512(acc), sum));
  }
}

void weighted_sum(const uint16_t* weight, size_t ld_weight, size_t rows, const int8_t* values,
                  size_t panel_stride, size_t count, size_t d_head, int32_t* acc, size_t ld_acc) {
  const Sums s = {weight, ld_weight, values, panel_stride, count / kPanelDepth, acc, ld_acc};
  for (size_t panel = 0; panel * kPanelOutputs < d_head; ++panel) {
    size_t row = 0;
    for (; row + kTileRows <= rows; row += kTileRows) tile<kTileRows>(s, row, panel);
    switch (rows - row) {
      case 1:
        tile<1>(s, row, panel);
        break;
      case 2:
        tile<2>(s, row, panel);
        break;
      case 3:
        tile<3>(s, row, panel);
        break;
      case 4:
        tile<4>(s, row, panel);
        break;
      case 5:
        tile<5>(s, row, panel);
        break;
    }
  }
}

}  // namespace

const AttentionKernels attn_kernels = {weighted_sum, nullptr};

}  // namespace avx512vnni
}  // namespace lsrt
