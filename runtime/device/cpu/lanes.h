// Float row operations of attention that are not worth a kernel of every set: plain loops in one fixed order,
// so that the result does not depend on the kernel set. Blocks of 16 let the compiler use vectors.
#pragma once

#include <cstddef>

namespace lsrt {

constexpr size_t kLanes = 16;

// sum_i x[i] * y[i]: element i is added to lane i % 16 in ascending order, then the lanes are folded by
// halves.
inline float dot(const float* x, const float* y, size_t n) {
  float lane[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) lane[j] += x[i + j] * y[i + j];
  }
  for (size_t j = 0; i < n; ++i, ++j) lane[j] += x[i] * y[i];
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t j = 0; j < half; ++j) lane[j] += lane[j + half];
  }
  return lane[0];
}

// sum[i] += p * x[i]
inline void add_scaled(float p, const float* __restrict x, size_t n, float* __restrict sum) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) sum[i + j] += p * x[i + j];
  }
  for (; i < n; ++i) sum[i] += p * x[i];
}

}  // namespace lsrt
