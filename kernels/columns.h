// Work on columns of float rows, for any vector type V of a vec_*.h: V::Register holds V::kWidth floats,
// Whole and Part load and store all or the first of them. Templates in an anonymous namespace: each file gets
// its own copy, and none is visible to the linker.
#pragma once

#include <stddef.h>

#include "kernels/rows.h"

namespace lsrt {
namespace {

// The columns of exp_columns (rows.h) that `at` lets through.
template <typename V, typename At, typename Exp>
inline __attribute__((always_inline)) void exp_one(const Exp& exp, const At at, const float* s, size_t ld_s,
                                                   size_t rows, float* e, size_t ld_e, float* largest,
                                                   float* total) {
  typename V::Register m = V::set(kMaskedScore), sum = V::set(0.0f);
  for (size_t t = 0; t < rows; ++t) m = V::max(at.load(s + t * ld_s), m);
  for (size_t t = 0; t < rows; ++t) {
    const typename V::Register v = exp(V::sub(at.load(s + t * ld_s), m));
    at.store(e + t * ld_e, v);
    sum = V::add(sum, v);
  }
  at.store(largest, m);
  at.store(total, sum);
}

template <typename V, typename Exp>
inline __attribute__((always_inline)) void exp_each(const Exp& exp, const float* s, size_t ld_s, size_t rows,
                                                    size_t n, float* e, size_t ld_e, float* largest,
                                                    float* total) {
  size_t j = 0;
  for (; j + V::kWidth <= n; j += V::kWidth) {
    exp_one<V>(exp, typename V::Whole(), s + j, ld_s, rows, e + j, ld_e, largest + j, total + j);
  }
  if (j < n) exp_one<V>(exp, typename V::Part(n - j), s + j, ld_s, rows, e + j, ld_e, largest + j, total + j);
}

// Outputs of weighted_rows (attn.h): kRows of them, kVectors registers of elements that `at` lets through.
template <typename V, size_t kRows, size_t kVectors, typename At>
inline __attribute__((always_inline)) void sum_tile(const float* weight, size_t ld_weight, const float* x,
                                                    size_t ld_x, size_t rows, const At at, float* out,
                                                    size_t ld_out) {
  typename V::Register sum[kRows][kVectors];
#pragma GCC unroll 4
  for (size_t j = 0; j < kRows; ++j) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) sum[j][v] = V::set(0.0f);
  }
  for (size_t t = 0; t < rows; ++t, weight += ld_weight, x += ld_x) {
    typename V::Register in[kVectors];
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) in[v] = at.load(x + V::kWidth * v);
#pragma GCC unroll 4
    for (size_t j = 0; j < kRows; ++j) {
      const typename V::Register w = V::set(weight[j]);
#pragma GCC unroll 4
      for (size_t v = 0; v < kVectors; ++v) sum[j][v] = V::multiply_add(w, in[v], sum[j][v]);
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
  constexpr size_t kTile = 16;
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
