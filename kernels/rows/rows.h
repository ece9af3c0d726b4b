// Per-row float work. All sums over a row are taken in one fixed order, so that every kernel set returns the
// same bits: element i belongs to lane i % 16; each lane adds its elements in ascending order, starting from
// 0; then lanes are folded: l += l + 8, l += l + 4, l += l + 2, l += l + 1. "fma" below is one rounding, all
// else is one rounding an operation. max ignores NaN; a NaN that is to become an integer becomes the lowest
// one.
//
// fma stays where hardware lacks it: a machine without one emulates it (scalar.cc shows the bits).
// WebAssembly has no deterministic fma for vectors, and emulation would cost what vectors gain; a set for
// browsers will therefore round products, too, and be held to bounds of its own against the scalar set
// instead of to its bits.
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
  // Each of x[rows][d], rows ld apart: out = (x - mean) * (1 / sqrt(var + eps)) * gamma + beta; mean = sum /
  // d; var = sum of squared differences (d * d via fma(diff, diff, lane)) / d; out[i] = fma((x[i] - mean) *
  // rstd, gamma[i], beta[i]), rows ld_out apart. In place allowed, with equal distances.
  void (*layer_norm)(const float* x, size_t ld, size_t rows, const float* gamma, const float* beta, float eps,
                     size_t d, float* out, size_t ld_out);

  // The same rows: out = x * (1 / sqrt(sum of x * x / d + eps)) * gamma, the sum via fma(x, x, lane). gamma
  // null: ones. In place allowed.
  void (*rms_norm)(const float* x, size_t ld, size_t rows, const float* gamma, float eps, size_t d,
                   float* out, size_t ld_out);

  // y[i] += x[i]
  void (*add)(const float* x, size_t n, float* y);

  // All of n runs, which do not overlap in y.
  void (*add_runs)(const float* x, const int32_t* offset, const AddRun* runs, size_t n, float* y);

  // In place exact GELU, 0.5 x (1 + erf(x / sqrt 2)), by the polynomial of scalar.cc; error below 2e-6
  // absolute + 2e-6 relative.
  void (*gelu)(float* x, size_t n);

  // In place max(x, 0).
  void (*relu)(float* x, size_t n);

  // Joint softmax of each query's scores s[rows][n] (n a multiple of 16, masked entries are kMaskedScore, at
  // least one of a row is not), ready for integer weighted sums of value rows whose own scales are
  // value_scale[n] (>= 0, finite where masked too). A row:
  //   m = max s;  e = exp(s - m) (polynomial of scalar.cc; exactly 0 where masked);  S = sum e;
  //   g = e * value_scale;  G = max g;  T = sum g;  f = min(kSoftmaxWeightMax / G, kSoftmaxSumMax / T), 0 if
  //   G is 0; weight[rows][n] = round to nearest even (g * f), at most kSoftmaxWeightMax;  scale[rows] = 1 /
  //   (f * S) (0 if f is 0).
  // so that sum_t softmax(s)[t] * value_scale[t] * v[t] = scale * sum_t weight[t] * v[t]. s is overwritten.
  void (*softmax_weights)(float* s, const float* value_scale, size_t rows, size_t n, uint16_t* weight,
                          float* scale);

  // Symmetric int8 of each of x[rows][n]: scale[rows] = max |x| / 127, q = round(x * (127 / max |x|)) in -127
  // .. 127, rows ld apart; sum[rows] = sum of q. Where that scale is not a normal number (all x are 0, tiny,
  // or one is infinite) it is 0 and so is every q.
  void (*quantize_symmetric)(const float* x, size_t rows, size_t n, int8_t* q, size_t ld, float* scale,
                             int32_t* sum);

  // sum_i x[i] * y[i] in the lanes, no fma.
  float (*dot)(const float* x, const float* y, size_t n);

  // y[i] += factor * x[i], no fma.
  void (*add_scaled)(float factor, const float* x, size_t n, float* y);

  // In place: softmax over x[n], n any, plain float: e = exp(x - max), e * (1 / sum e).
  void (*softmax)(float* x, size_t n);

  // exp of s[rows][n] column by column (rows >= 1): largest[j] = max_t s[t][j]; e[t][j] = exp(s[t][j] -
  // largest[j]); total[j] = sum_t e[t][j], in ascending order from 0. Rows are ld_s and ld_e apart.
  void (*exp_columns)(const float* s, size_t ld_s, size_t rows, size_t n, float* e, size_t ld_e,
                      float* largest, float* total);
};

}  // namespace lsrt
