// What the row operations for any vector type share: the 16 lanes of rows.h are 16 / V::kWidth registers, and
// a row's last elements are loaded with zeros behind them, which leaves sums as they are.
//
// V, the Vector of a vec_*.h, holds V::kWidth floats (V::Floats) or int32 (V::Ints):
//   set, add, sub, mul, div, fma (a * b + c), abs   as they say
//   min, max                                   b where a or b is NaN: accumulators go second
//   keep_at_least(v, x, bound)                 v where x >= bound, else 0
//   power_of_two(v)                            2^n for v = n + kRoundMagic
//   add_to_exponent(x, v)                      x * 2^n for the same v, by the bits of the exponent
//   round                                      to the nearest even integer
//   add_int, fold_sum_int                      sums of integers
//   fold_sum, fold_min, fold_max               of one register, in the order of rows.h
//   store_words, store_bytes                   16 lanes of integers that fit
//   Whole, Part(n)                             load, store, keep: all elements, or the first n (0 for the
//   others)
//
// Everything is in an anonymous namespace: each file gets its own copy, and none is visible to the linker.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace lsrt {
namespace {

constexpr size_t kLanes = 16;
template <typename V>
constexpr size_t kRegisters = kLanes / V::kWidth;

// Calls step(i, j, at) for the elements i .. i + V::kWidth - 1 of a row, which lie in register j of the
// lanes.
template <typename V, typename Step>
inline __attribute__((always_inline)) void for_each(size_t n, Step step) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
#pragma GCC unroll 4
    for (size_t j = 0; j < kRegisters<V>; ++j) step(i + j * V::kWidth, j, typename V::Whole());
  }
#pragma GCC unroll 4
  for (size_t j = 0; j < kRegisters<V>; ++j, i += V::kWidth) {
    if (i < n) step(i, j, typename V::Part(n - i));
  }
}

template <size_t n>
struct Count {
  static constexpr size_t value = n;
};

// Calls pass(count, channel, at) for 16 channels at a time, in `count` registers, then for what is left in
// single ones, of which the last may be a part.
template <typename V, typename Pass>
inline __attribute__((always_inline)) void for_channels(size_t n, Pass pass) {
  constexpr size_t kCount = kRegisters<V>;
  size_t c = 0;
  for (; c + kLanes <= n; c += kLanes) {
    pass(Count<kCount>(), c, typename V::Whole());
  }
  for (; c < n; c += V::kWidth) pass(Count<1>(), c, typename V::Part(n - c));
}

// The 16 lanes of a sum, a minimum or a maximum.
template <typename V>
struct Lanes {
  typename V::Floats v[kRegisters<V>];

  Lanes() = default;
  explicit Lanes(float start) {
    for (size_t j = 0; j < kRegisters<V>; ++j) v[j] = V::set(start);
  }
  float fold_sum() {
    for (size_t half = kRegisters<V> / 2; half > 0; half /= 2) {
      for (size_t j = 0; j < half; ++j) v[j] = V::add(v[j], v[j + half]);
    }
    return V::fold_sum(v[0]);
  }
  float fold_min() {  // no lane is NaN: accumulators never become it
    for (size_t j = 1; j < kRegisters<V>; ++j) v[0] = V::min(v[0], v[j]);
    return V::fold_min(v[0]);
  }
  float fold_max() {
    for (size_t j = 1; j < kRegisters<V>; ++j) v[0] = V::max(v[0], v[j]);
    return V::fold_max(v[0]);
  }
};

// round(x * factor), held in lowest .. highest; NaN becomes lowest.
template <typename V>
inline __attribute__((always_inline)) typename V::Ints quantize(typename V::Floats x,
                                                                typename V::Floats factor, float lowest,
                                                                float highest) {
  return V::round(V::min(V::max(V::mul(x, factor), V::set(lowest)), V::set(highest)));
}

}  // namespace
}  // namespace lsrt
