// int8 matrix product for AVX-512 VNNI. Packed row: the bytes q + 128, unsigned as vpdpbusd wants them; the
// sums of the weights take 128 + zero_point out again.
#include <string.h>

#include "kernels/avx512.h"
#include "kernels/isa_sets.h"
#include "kernels/vec_avx2.h"

namespace lsrt {
namespace avx512vnni {
namespace {

constexpr size_t kTileRows = 4;
constexpr size_t kTilePanels = 4;

size_t packed_row_bytes(size_t depth) { return round_up(depth, 64); }

void pack_rows(const float* x, size_t ld, size_t rows, size_t depth, void* packed, RowScale* row_scale) {
  const size_t row_bytes = packed_row_bytes(depth);
  for (size_t i = 0; i < rows; ++i, x += ld) {
    const RowScale s = row_scale[i] = avx2::row_scale_of(x, depth);
    const __m256 inverse = _mm256_set1_ps(1.0f / s.scale);
    const __m256 lowest = _mm256_set1_ps((float)(-128 - s.zero_point));
    const __m256 highest = _mm256_set1_ps((float)(127 - s.zero_point));
    const __m256i offset = _mm256_set1_epi32(128 + s.zero_point);
    uint8_t* q = (uint8_t*)packed + i * row_bytes;
    for (size_t k = 0; k < row_bytes;
         k += 8) {  // the weights behind the last input are zero, whatever q is there
      const __m256i mask = avx2::tail_mask(k >= depth ? 0 : depth - k < 8 ? depth - k : 8);
      const __m256i v = avx2::quantize8(_mm256_maskload_ps(x + k, mask), inverse, lowest, highest);
      const __m256i u = _mm256_add_epi32(v, offset);
      const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(u), _mm256_extracti128_si256(u, 1));
      _mm_storel_epi64((__m128i*)(q + k), _mm_packus_epi16(words, words));
    }
  }
}

struct Product {
  const uint8_t* packed;
  size_t row_bytes;
  const RowScale* row_scale;
  const PanelWeights& weights;
  size_t panel_begin;  // that of out[0]
  float* out;
  size_t ld;
};

// Corrects, scales, biases and stores outputs n .. n + 7 of one row, those that exist.
inline void store8(const Product& p, size_t row, size_t n, __m256i dot) {
  if (n >= p.weights.outputs) return;
  const size_t count = p.weights.outputs - n < 8 ? p.weights.outputs - n : 8;
  const __m256i mask = avx2::tail_mask(count);
  const RowScale s = p.row_scale[row];
  const __m256i sum = _mm256_loadu_si256((const __m256i*)(p.weights.sum + n));
  const __m256i offset = _mm256_mullo_epi32(_mm256_set1_epi32(128 + s.zero_point), sum);
  const __m256 v = _mm256_cvtepi32_ps(_mm256_sub_epi32(dot, offset));
  const __m256 scale = _mm256_mul_ps(_mm256_set1_ps(s.scale), _mm256_loadu_ps(p.weights.scale + n));
  const __m256 bias = p.weights.bias ? _mm256_maskload_ps(p.weights.bias + n, mask) : _mm256_setzero_ps();
  float* out = p.out + row * p.ld + (n - p.panel_begin * kPanelOutputs);
  _mm256_maskstore_ps(out, mask, _mm256_add_ps(_mm256_mul_ps(v, scale), bias));
}

template <size_t kRows, size_t kPanels>
void tile(const Product& p, size_t row, size_t panel) {
  const size_t panel_stride = panel_bytes(p.weights.depth);
  const uint8_t* a = p.packed + row * p.row_bytes;
  const int8_t* w = p.weights.data + panel * panel_stride;
  __m512i acc[kRows][kPanels];
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (size_t j = 0; j < kPanels; ++j) acc[r][j] = _mm512_setzero_si512();
  }
  for (size_t k = 0; k < p.weights.depth; k += kPanelDepth) {
    __m512i weights[kPanels];
#pragma GCC unroll 4
    for (size_t j = 0; j < kPanels; ++j) {
      weights[j] = _mm512_loadu_si512(w + j * panel_stride + k * kPanelOutputs);
    }
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) {
      int32_t four;
      memcpy(&four, a + r * p.row_bytes + k, sizeof four);
      const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (size_t j = 0; j < kPanels; ++j) acc[r][j] = _mm512_dpbusd_epi32(acc[r][j], x, weights[j]);
    }
  }
#pragma GCC unroll 4
  for (size_t j = 0; j < kPanels; ++j) {
    const size_t n = (panel + j) * kPanelOutputs;
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) {
      store8(p, row + r, n, _mm512_castsi512_si256(acc[r][j]));
      store8(p, row + r, n + 8, _mm512_extracti64x4_epi64(acc[r][j], 1));
    }
  }
}

template <size_t kPanels>
void all_rows(const Product& p, size_t rows, size_t panel) {
  size_t row = 0;
  for (; row + kTileRows <= rows; row += kTileRows) tile<kTileRows, kPanels>(p, row, panel);
  switch (rows - row) {
    case 1:
      return tile<1, kPanels>(p, row, panel);
    case 2:
      return tile<2, kPanels>(p, row, panel);
    case 3:
      return tile<3, kPanels>(p, row, panel);
  }
}

void gemm(const void* packed, const RowScale* row_scale, size_t rows, const PanelWeights& weights,
          size_t panel_begin, size_t panel_end, float* out, size_t ld) {
  const Product p = {
      (const uint8_t*)packed, packed_row_bytes(weights.depth), row_scale, weights, panel_begin, out, ld};
  size_t panel = panel_begin;
  for (; panel + kTilePanels <= panel_end; panel += kTilePanels) all_rows<kTilePanels>(p, rows, panel);
  for (; panel < panel_end; ++panel) all_rows<1>(p, rows, panel);
}

}  // namespace

const GemmKernels gemm_kernels = {packed_row_bytes, pack_rows, gemm};
const RowKernels row_kernels = {};  // those of avx2

}  // namespace avx512vnni
}  // namespace lsrt
