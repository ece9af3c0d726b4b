// Per-row float work. All sums over a row are taken in one fixed order, so that every kernel set returns the
// same bits: element i belongs to lane i % 16; each lane adds its elements in ascending order, starting from
// 0; then lanes are folded: l += l + 8, l += l + 4, l += l + 2, l += l + 1. "fma" below is one rounding, all
// else is one rounding an operation. max ignores NaN; a NaN that is to become an integer becomes the lowest
// one.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace lsrt {

// Attention weights are 14-bit integers: their products with int8 values are exact in int32, in any order,
// and two 7-bit halves suit 8-bit dot instructions.
inline constexpr int kSoftmaxWeightMax = 16383;
// Bound on the sum of one row's weights: 127 * bound < 2^31.
inline constexpr float kSoftmaxSumMax = 16.0e6f;
// Score of a key that must not be seen.
inline constexpr float kMaskedScore = -__builtin_huge_valf();

// A run of floats that is added somewhere: y[to + i] += x[offset[index] + from + i], i < count.
struct AddRun {
  uint32_t index, from, to, count;
};

struct RowKernels {
  // out = (x - mean) * (1 / sqrt(var + eps)) * gamma + beta over d elements; mean = sum / d; var = sum of
  // squared differences (d * d via fma(diff, diff, lane)) / d; out[i] = fma((x[i] - mean) * rstd, gamma[i],
  // beta[i]). In place allowed.
  void (*layer_norm)(const float* x, const float* gamma, const float* beta, float eps, size_t d, float* out);

  // y[i] += x[i]
  void (*add)(const float* x, size_t n, float* y);

  // All of n runs, which do not overlap in y.
  void (*add_runs)(const float* x, const int32_t* offset, const AddRun* runs, size_t n, float* y);

  // In place exact GELU, 0.5 x (1 + erf(x / sqrt 2)), by the polynomial of rows_scalar.cc; error below 2e-6
  // absolute + 2e-6 relative.
  void (*gelu)(float* x, size_t n);

  // In place max(x, 0).
  void (*relu)(float* x, size_t n);

  // Joint softmax of one query's scores s[n] (n a multiple of 16, masked entries are kMaskedScore, at least
  // one is not), ready for integer weighted sums of value rows whose own scales are value_scale[n] (>= 0,
  // finite where masked too):
  //   m = max s;  e = exp(s - m) (polynomial of rows_scalar.cc; exactly 0 where masked);  S = sum e;
  //   g = e * value_scale;  G = max g;  T = sum g;  f = min(kSoftmaxWeightMax / G, kSoftmaxSumMax / T), 0 if
  //   G is 0; weight = round to nearest even (g * f), at most kSoftmaxWeightMax;  returns 1 / (f * S) (0 if f
  //   is 0).
  // so that sum_t softmax(s)[t] * value_scale[t] * v[t] = returned * sum_t weight[t] * v[t]. s is
  // overwritten.
  float (*softmax_weights)(float* s, const float* value_scale, size_t n, uint16_t* weight);

  // Symmetric int8: scale = max |x| / 127, q = round(x * (127 / max |x|)) in -127 .. 127; returns the scale.
  // Where that scale is not a normal number (all x are 0, tiny, or one is infinite) it is 0 and so is every
  // q.
  float (*quantize_symmetric)(const float* x, size_t n, int8_t* q);

  // In place: softmax over x[n], n any, plain float: e = exp(x - max), e * (1 / sum e).
  void (*softmax)(float* x, size_t n);

  // exp of s[rows][n] column by column (rows >= 1): largest[j] = max_t s[t][j]; e[t][j] = exp(s[t][j] -
  // largest[j]); total[j] = sum_t e[t][j], in ascending order from 0. Rows are ld_s and ld_e apart.
  void (*exp_columns)(const float* s, size_t ld_s, size_t rows, size_t n, float* e, size_t ld_e,
                      float* largest, float* total);
};

}  // namespace lsrt
