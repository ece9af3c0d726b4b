// Exponentials and softmax of rows.h for any vector type V of a vec_*.h (lanes_simd.h).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/rows/rows.h"
#include "kernels/rows/rows_math.h"
#include "kernels/simd/lanes_simd.h"

namespace lsrt {
namespace {

template <typename V>
inline __attribute__((always_inline)) typename V::Floats exp_negative(typename V::Floats x) {
  using Floats = typename V::Floats;
  const Floats shifted = V::fma(x, V::set(kLog2E), V::set(kRoundMagic));
  const Floats n = V::sub(shifted, V::set(kRoundMagic));
  Floats r = V::fma(n, V::set(-kLn2High), x);
  r = V::fma(n, V::set(-kLn2Low), r);
  const Floats r2 = V::mul(r, r);
  const Floats low = V::fma(V::set(kExp2), r, V::set(kExp1));
  Floats high = V::fma(V::set(kExp4), r, V::set(kExp3));
  high = V::fma(V::set(kExp5), r2, high);
  const Floats p = V::fma(V::fma(high, r2, low), r, V::set(1.0f));
  return V::keep_at_least(V::mul(p, V::power_of_two(shifted)), x, V::set(kExpMin));
}

template <typename V>
float max_of(const float* x, size_t n) {
  if (n < kLanes) {
    float best = kMaskedScore;
    for (size_t i = 0; i < n; ++i) best = x[i] > best ? x[i] : best;
    return best;
  }
  constexpr size_t kTurns =
      kRegisters<V> < 4 ? 4 / kRegisters<V> : 1;  // registers that do not wait for each other
  Lanes<V> m[kTurns];
  for (size_t t = 0; t < kTurns; ++t) m[t] = Lanes<V>(kMaskedScore);
  const auto take = [&](size_t t, const float* from) {
    for (size_t j = 0; j < kRegisters<V>; ++j)
      m[t].v[j] = V::max(typename V::Whole().load(from + j * V::kWidth), m[t].v[j]);
  };
  size_t i = 0;
  for (; i + kTurns * kLanes <= n; i += kTurns * kLanes) {
#pragma GCC unroll 4
    for (size_t t = 0; t < kTurns; ++t) take(t, x + i + t * kLanes);
  }
  for (; i < n; i += kLanes) take(0, x + (i + kLanes <= n ? i : n - kLanes));  // the last may overlap
  for (size_t t = 1; t < kTurns; ++t) {
    for (size_t j = 0; j < kRegisters<V>; ++j) m[0].v[j] = V::max(m[t].v[j], m[0].v[j]);
  }
  return m[0].fold_max();
}

// What one row's softmax_weights still needs to become integers.
struct Weighing {
  float factor, scale;
};

// s becomes exp(s - largest) * value_scale.
template <typename V>
Weighing weigh(float* s, const float* value_scale, size_t n, float largest) {
  const typename V::Floats m = V::set(largest);
  Lanes<V> e_sum(0.0f), g_sum(0.0f), g_max(0.0f);
  const typename V::Whole at;
  for (size_t i = 0; i < n; i += kLanes) {
#pragma GCC unroll 4
    for (size_t j = 0; j < kRegisters<V>; ++j) {
      float* p = s + i + j * V::kWidth;
      const typename V::Floats e = exp_negative<V>(V::sub(at.load(p), m));
      const typename V::Floats g = V::mul(e, at.load(value_scale + i + j * V::kWidth));
      e_sum.v[j] = V::add(e_sum.v[j], e);
      g_sum.v[j] = V::add(g_sum.v[j], g);
      g_max.v[j] = V::max(g, g_max.v[j]);
      at.store(p, g);
    }
  }
  const float peak = g_max.fold_max();
  const float by_sum = kSoftmaxSumMax / g_sum.fold_sum(), by_peak = (float)kSoftmaxWeightMax / peak;
  const float f = !(peak > 0) ? 0.0f : by_sum < by_peak ? by_sum : by_peak;
  return {f, f > 0 ? 1.0f / (f * e_sum.fold_sum()) : 0.0f};
}

template <typename V>
void round_weights(const float* s, size_t n, float f, uint16_t* weight) {
  const typename V::Floats factor = V::set(f);
  for (size_t i = 0; i < n; i += kLanes) {
    typename V::Ints words[kRegisters<V>];
    for (size_t j = 0; j < kRegisters<V>; ++j) {
      const typename V::Floats g = typename V::Whole().load(s + i + j * V::kWidth);
      words[j] = quantize<V>(g, factor, 0.0f, (float)kSoftmaxWeightMax);
    }
    V::store_words(weight + i, words);
  }
}

// A row's factor waits for folds and divisions: meanwhile the next row's largest score is found, and while
// that is folded, the weights are rounded.
template <typename V>
void softmax_weights(float* s, const float* value_scale, size_t rows, size_t n, uint16_t* weight,
                     float* scale) {
  float largest = max_of<V>(s, n);
  for (size_t r = 0; r < rows; ++r, s += n, weight += n) {
    const Weighing row = weigh<V>(s, value_scale, n, largest);
    if (r + 1 < rows) largest = max_of<V>(s + n, n);
    round_weights<V>(s, n, row.factor, weight);
    scale[r] = row.scale;
  }
}

template <typename V>
void softmax(float* x, size_t n) {
  const typename V::Floats m = V::set(max_of<V>(x, n));
  Lanes<V> sum(0.0f);
  for_each<V>(n, [&](size_t i, size_t j, auto at) {
    const typename V::Floats e = at.keep(exp_negative<V>(V::sub(at.load(x + i), m)));
    sum.v[j] = V::add(sum.v[j], e);
    at.store(x + i, e);
  });
  const typename V::Floats inverse = V::set(1.0f / sum.fold_sum());
  for_each<V>(n, [&](size_t i, size_t, auto at) { at.store(x + i, V::mul(at.load(x + i), inverse)); });
}

// The columns of exp_columns that `at` lets through.
template <typename V, typename At>
inline __attribute__((always_inline)) void exp_some(const At at, const float* s, size_t ld_s, size_t rows,
                                                    float* e, size_t ld_e, float* largest, float* total) {
  typename V::Floats m = V::set(kMaskedScore), sum = V::set(0.0f);
  for (size_t t = 0; t < rows; ++t) m = V::max(at.load(s + t * ld_s), m);
  for (size_t t = 0; t < rows; ++t) {
    const typename V::Floats v = exp_negative<V>(V::sub(at.load(s + t * ld_s), m));
    at.store(e + t * ld_e, v);
    sum = V::add(sum, v);
  }
  at.store(largest, m);
  at.store(total, sum);
}

template <typename V>
void exp_columns(const float* s, size_t ld_s, size_t rows, size_t n, float* e, size_t ld_e, float* largest,
                 float* total) {
  size_t j = 0;
  for (; j + V::kWidth <= n; j += V::kWidth) {
    exp_some<V>(typename V::Whole(), s + j, ld_s, rows, e + j, ld_e, largest + j, total + j);
  }
  if (j < n) exp_some<V>(typename V::Part(n - j), s + j, ld_s, rows, e + j, ld_e, largest + j, total + j);
}

}  // namespace
}  // namespace lsrt
