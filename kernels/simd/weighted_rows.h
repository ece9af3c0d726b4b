// weighted_rows (attn.h) for any vector type V of a vec_*.h (lanes_simd.h). Templates in an anonymous
// namespace: each file gets its own copy, and none is visible to the linker.
#pragma once

#include <stddef.h>

namespace lsrt {
namespace {

// Outputs: kRows of them, kVectors registers of elements that `at` lets through.
template <typename V, size_t kRows, size_t kVectors, typename At>
inline __attribute__((always_inline)) void sum_tile(const float* weight, size_t ld_weight, const float* x,
                                                    size_t ld_x, size_t rows, const At at, float* out,
                                                    size_t ld_out) {
  typename V::Floats sum[kRows][kVectors];
#pragma GCC unroll 4
  for (size_t j = 0; j < kRows; ++j) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) sum[j][v] = V::set(0.0f);
  }
  for (size_t t = 0; t < rows; ++t, weight += ld_weight, x += ld_x) {
    typename V::Floats in[kVectors];
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) in[v] = at.load(x + V::kWidth * v);
#pragma GCC unroll 4
    for (size_t j = 0; j < kRows; ++j) {
      const typename V::Floats w = V::set(weight[j]);
#pragma GCC unroll 4
      for (size_t v = 0; v < kVectors; ++v) sum[j][v] = V::fma(w, in[v], sum[j][v]);
    }
  }
#pragma GCC unroll 4
  for (size_t j = 0; j < kRows; ++j) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) at.store(out + j * ld_out + V::kWidth * v, sum[j][v]);
  }
}

template <typename V, size_t kRows>
void sum_rows(const float* weight, size_t ld_weight, const float* x, size_t ld_x, size_t rows, size_t d,
              float* out, size_t ld_out) {
  constexpr size_t kTile = V::kWidth < 16 ? 16 : 2 * V::kWidth;  // enough sums for the latency of fma
  size_t k = 0;
  for (; k + kTile <= d; k += kTile) {
    sum_tile<V, kRows, kTile / V::kWidth>(weight, ld_weight, x + k, ld_x, rows, typename V::Whole(), out + k,
                                          ld_out);
  }
  for (; k < d; k += V::kWidth) {
    sum_tile<V, kRows, 1>(weight, ld_weight, x + k, ld_x, rows, typename V::Part(d - k), out + k, ld_out);
  }
}

template <typename V>
void weighted_rows_of(const float* weight, size_t ld_weight, const float* x, size_t ld_x, size_t rows,
                      size_t n, size_t d, float* out, size_t ld_out) {
  size_t j = 0;
  for (; j + 4 <= n; j += 4)
    sum_rows<V, 4>(weight + j, ld_weight, x, ld_x, rows, d, out + j * ld_out, ld_out);
  for (; j < n; ++j) sum_rows<V, 1>(weight + j, ld_weight, x, ld_x, rows, d, out + j * ld_out, ld_out);
}

}  // namespace
}  // namespace lsrt
