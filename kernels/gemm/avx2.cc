// int8 matrix product for AVX2. Packed row: the int16 values q - zero_point, so that vpmaddwd needs no
// correction.
#include <immintrin.h>

#include "kernels/isa_sets.h"
#include "kernels/simd/tile_avx2.h"
#include "kernels/simd/vec_avx2.h"

namespace lsrt {
namespace avx2 {
namespace {

size_t packed_row_bytes(size_t depth) { return round_up(depth * sizeof(int16_t), 64); }

void pack_rows(const float* x, size_t ld, size_t rows, size_t depth, void* packed, RowScale* row_scale) {
  const size_t row_values = packed_row_bytes(depth) / sizeof(int16_t);
  for (size_t i = 0; i < rows; ++i, x += ld) {
    const RowScale s = row_scale[i] = row_scale_of(x, depth);
    const __m256 inverse = _mm256_set1_ps(1.0f / s.scale);
    const __m256 lowest = _mm256_set1_ps((float)(-128 - s.zero_point));
    const __m256 highest = _mm256_set1_ps((float)(127 - s.zero_point));
    int16_t* q = (int16_t*)packed + i * row_values;
    size_t k = 0;
    for (; k + 16 <= depth; k += 16) {
      const __m256i a = quantize8(_mm256_loadu_ps(x + k), inverse, lowest, highest);
      const __m256i b = quantize8(_mm256_loadu_ps(x + k + 8), inverse, lowest, highest);
      _mm256_store_si256((__m256i*)(q + k), _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8));
    }
    for (; k < row_values; k += 8) {  // the last inputs, then zeros
      const __m256i mask = tail_mask(k < depth ? depth - k : 0);
      const __m256i a = quantize8(_mm256_maskload_ps(x + k, mask), inverse, lowest, highest);
      const __m256i b = _mm256_and_si256(a, mask);
      _mm_store_si128((__m128i*)(q + k),
                      _mm_packs_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1)));
    }
  }
}

struct Product {
  const int16_t* packed;
  size_t row_values;
  const RowScale* row_scale;
  const int8_t* weights;
  const float *scale, *bias;
  size_t outputs, groups;
  size_t first_output;  // that of out[0]
  float* out;
  size_t ld;
};

const float kNoBias[kPanelOutputs] = {};

// Outputs n .. n + 7 (+ 8 with kHalves = 2) of kRows rows: the tile, then scale, bias, store. kWhole: all of
// these outputs exist.
template <size_t kRows, size_t kHalves, bool kWhole>
inline __attribute__((always_inline)) void tile_outputs(const Product& p, size_t row, size_t n) {
  const int8_t* w = p.weights + panel_offset(n, 0, p.groups * kPanelDepth);
  __m256i sums[kRows][kHalves];
  tile<kRows, kHalves>(p.packed + row * p.row_values, p.row_values, w, p.groups, kPanelGroupBytes, sums);
#pragma GCC unroll 2
  for (size_t h = 0; h < kHalves; ++h, n += 8) {
    if (!kWhole && n >= p.outputs) break;
    const size_t count = kWhole || n + 8 <= p.outputs ? 8 : p.outputs - n;
    const float* from = p.bias ? p.bias + n : kNoBias;
    const __m256 scale = _mm256_loadu_ps(p.scale + n);
    const __m256 bias = kWhole ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, tail_mask(count));
    float* out = p.out + row * p.ld + (n - p.first_output);
#pragma GCC unroll 6
    for (size_t r = 0; r < kRows; ++r, out += p.ld) {
      const __m256 row_scale = _mm256_mul_ps(_mm256_set1_ps(p.row_scale[row + r].scale), scale);
      const __m256 v = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sums[r][h]), row_scale), bias);
      store_first(out, v, count);
    }
  }
}

template <bool kWhole>
void few_rows(const Product& p, size_t rows, size_t n) {
  switch (rows) {
    case 1:
      return tile_outputs<1, 2, kWhole>(p, 0, n);
    case 2:
      return tile_outputs<2, 2, kWhole>(p, 0, n);
  }
}

template <bool kWhole>
void half_panel(const Product p, size_t row, size_t end, size_t n) {
  for (; row + kTileRows <= end; row += kTileRows) tile_outputs<kTileRows, 1, kWhole>(p, row, n);
  switch (end - row) {
    case 1:
      return tile_outputs<1, 1, kWhole>(p, row, n);
    case 2:
      return tile_outputs<2, 1, kWhole>(p, row, n);
    case 3:
      return tile_outputs<3, 1, kWhole>(p, row, n);
    case 4:
      return tile_outputs<4, 1, kWhole>(p, row, n);
    case 5:
      return tile_outputs<5, 1, kWhole>(p, row, n);
  }
}

constexpr size_t kRowBlockBytes = 192 * 1024;  // packed rows that stay in the second level cache

void gemm(const void* packed, const RowScale* row_scale, size_t rows, const PanelWeights& weights,
          size_t panel_begin, size_t panel_end, float* out, size_t ld) {
  const size_t row_bytes = packed_row_bytes(weights.depth);
  const Product p = {(const int16_t*)packed,
                     row_bytes / sizeof(int16_t),
                     row_scale,
                     weights.data,
                     weights.scale,
                     weights.bias,
                     weights.outputs,
                     (weights.depth + kPanelDepth - 1) / kPanelDepth,
                     panel_begin * kPanelOutputs,
                     out,
                     ld};
  size_t end = panel_end * kPanelOutputs;
  if (end > weights.outputs) end = weights.outputs;
  if (rows <= 2) {
    size_t n = p.first_output;
    for (; n + kPanelOutputs <= end; n += kPanelOutputs) few_rows<true>(p, rows, n);
    if (n < end) few_rows<false>(p, rows, n);
    return;
  }
  size_t block = kRowBlockBytes / row_bytes / kTileRows * kTileRows;
  if (block < kTileRows) block = kTileRows;
  for (size_t row = 0; row < rows; row += block) {
    const size_t row_end = row + block < rows ? row + block : rows;
    size_t n = p.first_output;
    for (; n + 8 <= end; n += 8) half_panel<true>(p, row, row_end, n);
    if (n < end) half_panel<false>(p, row, row_end, n);
  }
}

}  // namespace

void provide(GemmKernels& k) {
  k.packed_row_bytes = packed_row_bytes;
  k.pack_rows = pack_rows;
  k.gemm = gemm;
}

}  // namespace avx2
}  // namespace lsrt
