// The row operations of rows.h for any vector type V (lanes_simd.h): one text for every instruction set. The
// order of operations is that of rows/scalar.cc, so the results are the same bits. Everything is in an
// anonymous namespace: each file gets its own copy, and none is visible to the linker.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/rows/rows.h"
#include "kernels/rows/rows_math.h"
#include "kernels/simd/lanes_simd.h"
#include "kernels/simd/softmax_simd.h"

namespace lsrt {
namespace {

template <typename V>
inline __attribute__((always_inline)) typename V::Floats gelu_of(typename V::Floats x) {
  using Floats = typename V::Floats;
  const Floats u = V::min(V::fma(V::mul(x, x), V::set(kErfSquare), V::set(-1.0f)), V::set(1.0f));
  const Floats u2 = V::mul(u, u);
  Floats even = V::set(kErf[kErfDegree - 1]), odd = V::set(kErf[kErfDegree]);
#pragma GCC unroll 8
  for (int k = kErfDegree - 3; k >= 0; k -= 2) {
    even = V::fma(even, u2, V::set(kErf[k]));
    odd = V::fma(odd, u2, V::set(kErf[k + 1]));
  }
  const Floats p = V::fma(odd, u, even);
  const Floats erf = V::min(V::max(V::mul(x, p), V::set(-1.0f)), V::set(1.0f));
  const Floats half = V::mul(V::set(0.5f), x);
  return V::fma(half, erf, half);
}

// kRows rows side by side, so that none waits for its own folds and square root.
template <typename V, size_t kRows>
void norm_rows(const float* x, size_t ld, const float* gamma, const float* beta, float eps, size_t d,
               float* out, size_t ld_out) {
  using Floats = typename V::Floats;
  Lanes<V> lanes[kRows];
  Floats mean[kRows], rstd[kRows];
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) lanes[r] = Lanes<V>(0.0f);
  for_each<V>(d, [&](size_t i, size_t j, auto at) {
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) lanes[r].v[j] = V::add(lanes[r].v[j], at.load(x + r * ld + i));
  });
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) {
    mean[r] = V::set(lanes[r].fold_sum() / (float)d);
    lanes[r] = Lanes<V>(0.0f);
  }
  for_each<V>(d, [&](size_t i, size_t j, auto at) {
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) {
      const Floats diff = at.keep(V::sub(at.load(x + r * ld + i), mean[r]));
      lanes[r].v[j] = V::fma(diff, diff, lanes[r].v[j]);
    }
  });
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r)
    rstd[r] = V::set(1.0f / __builtin_sqrtf(lanes[r].fold_sum() / (float)d + eps));
  for_each<V>(d, [&](size_t i, size_t, auto at) {
    const Floats g = at.load(gamma + i), b = at.load(beta + i);
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) {
      const Floats v = V::mul(V::sub(at.load(x + r * ld + i), mean[r]), rstd[r]);
      at.store(out + r * ld_out + i, V::fma(v, g, b));
    }
  });
}

template <typename V>
void layer_norm(const float* x, size_t ld, size_t rows, const float* gamma, const float* beta, float eps,
                size_t d, float* out, size_t ld_out) {
  size_t r = 0;
  for (; r + 4 <= rows; r += 4)
    norm_rows<V, 4>(x + r * ld, ld, gamma, beta, eps, d, out + r * ld_out, ld_out);
  for (; r < rows; ++r) norm_rows<V, 1>(x + r * ld, ld, gamma, beta, eps, d, out + r * ld_out, ld_out);
}

template <typename V>
void rms_norm(const float* x, size_t ld, size_t rows, const float* gamma, float eps, size_t d, float* out,
              size_t ld_out) {
  for (size_t r = 0; r < rows; ++r, x += ld, out += ld_out) {
    Lanes<V> square(0.0f);
    for_each<V>(d, [&](size_t i, size_t j, auto at) {
      const typename V::Floats v = at.load(x + i);
      square.v[j] = V::fma(v, v, square.v[j]);
    });
    const typename V::Floats scale = V::set(1.0f / __builtin_sqrtf(square.fold_sum() / (float)d + eps));
    for_each<V>(d, [&](size_t i, size_t, auto at) {
      const typename V::Floats v = V::mul(at.load(x + i), scale);
      at.store(out + i, gamma ? V::mul(v, at.load(gamma + i)) : v);
    });
  }
}

template <typename V>
void add(const float* x, size_t n, float* y) {
  for_each<V>(n, [&](size_t i, size_t, auto at) { at.store(y + i, V::add(at.load(y + i), at.load(x + i))); });
}

// A run's last V::kWidth sums are taken before the others are stored and stored after them, where they
// overlap: partial stores are slow.
template <typename V>
void add_runs(const float* x, const int32_t* offset, const AddRun* runs, size_t n, float* y) {
  const typename V::Whole at;
  for (const AddRun* run = runs; run < runs + n; ++run) {
    const float* from = x + offset[run->index] + run->from;
    float* to = y + run->to;
    const size_t count = run->count;
    if (count < V::kWidth) {
      for (size_t i = 0; i < count; ++i) to[i] += from[i];
      continue;
    }
    const size_t rest = count - V::kWidth;
    const typename V::Floats last = V::add(at.load(to + rest), at.load(from + rest));
    for (size_t i = 0; i < rest; i += V::kWidth) at.store(to + i, V::add(at.load(to + i), at.load(from + i)));
    at.store(to + rest, last);
  }
}

template <typename V>
void gelu(float* x, size_t n) {
  for_each<V>(n, [&](size_t i, size_t, auto at) { at.store(x + i, gelu_of<V>(at.load(x + i))); });
}

template <typename V>
void relu(float* x, size_t n) {
  for_each<V>(n, [&](size_t i, size_t, auto at) { at.store(x + i, V::max(at.load(x + i), V::set(0.0f))); });
}

// Scales of kRows rows side by side, so that none waits for its own fold.
template <typename V, size_t kRows>
inline __attribute__((always_inline)) void symmetric_peaks(const float* x, size_t n, float* peak) {
  Lanes<V> m[kRows];
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) m[r] = Lanes<V>(0.0f);
  for_each<V>(n, [&](size_t i, size_t j, auto at) {
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) m[r].v[j] = V::max(V::abs(at.load(x + r * n + i)), m[r].v[j]);
  });
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) peak[r] = m[r].fold_max();
}

// Returns the sum of q.
template <typename V>
int32_t quantize_symmetric_row(const float* x, size_t n, float peak, int8_t* q) {
  const typename V::Floats factor = V::set(127.0f / peak);
  typename V::Ints bytes[kRegisters<V>], sum[kRegisters<V>];
  for (size_t j = 0; j < kRegisters<V>; ++j) bytes[j] = sum[j] = V::round(V::set(0.0f));
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kRegisters<V>; ++j) {
      bytes[j] = quantize<V>(typename V::Whole().load(x + i + j * V::kWidth), factor, -127.0f, 127.0f);
      sum[j] = V::add_int(sum[j], bytes[j]);
    }
    V::store_bytes(q + i, bytes);
  }
  if (i < n) {
    for (size_t j = 0; j < kRegisters<V>; ++j) bytes[j] = V::round(V::set(0.0f));
    for_each<V>(n - i, [&](size_t k, size_t j, auto at) {
      bytes[j] = quantize<V>(at.load(x + i + k), factor, -127.0f, 127.0f);
      sum[j] = V::add_int(sum[j], bytes[j]);
    });
    int8_t last[kLanes];
    V::store_bytes(last, bytes);
    memcpy(q + i, last, n - i);
  }
  for (size_t j = 1; j < kRegisters<V>; ++j) sum[0] = V::add_int(sum[0], sum[j]);
  return V::fold_sum_int(sum[0]);
}

template <typename V>
void quantize_symmetric(const float* x, size_t rows, size_t n, int8_t* q, size_t ld, float* scale,
                        int32_t* sum) {
  for (size_t row = 0, some; row < rows; row += some) {
    some = rows - row >= 4 ? 4 : 1;
    float peak[4];
    if (some == 4) {
      symmetric_peaks<V, 4>(x + row * n, n, peak);
    } else {
      symmetric_peaks<V, 1>(x + row * n, n, peak);
    }
    for (size_t r = 0; r < some; ++r) {
      const size_t at = row + r;
      scale[at] = peak[r] / 127.0f;
      if (scale[at] >= 0x1p-126f && scale[at] <= 0x1.fffffep+127f) {
        sum[at] = quantize_symmetric_row<V>(x + at * n, n, peak[r], q + at * ld);
      } else {
        scale[at] = 0.0f, sum[at] = 0;
        memset(q + at * ld, 0, n);
      }
    }
  }
}

template <typename V>
float dot(const float* x, const float* y, size_t n) {
  Lanes<V> sum(0.0f);
  for_each<V>(n, [&](size_t i, size_t j, auto at) {
    sum.v[j] = V::add(sum.v[j], V::mul(at.load(x + i), at.load(y + i)));
  });
  return sum.fold_sum();
}

template <typename V>
void add_scaled(float factor, const float* x, size_t n, float* y) {
  const typename V::Floats f = V::set(factor);
  for_each<V>(n, [&](size_t i, size_t, auto at) {
    at.store(y + i, V::add(at.load(y + i), V::mul(f, at.load(x + i))));
  });
}

template <typename V>
void provide_rows(RowKernels& k) {
  k.layer_norm = layer_norm<V>;
  k.rms_norm = rms_norm<V>;
  k.add = add<V>;
  k.add_runs = add_runs<V>;
  k.gelu = gelu<V>;
  k.relu = relu<V>;
  k.softmax_weights = softmax_weights<V>;
  k.quantize_symmetric = quantize_symmetric<V>;
  k.dot = dot<V>;
  k.add_scaled = add_scaled<V>;
  k.softmax = softmax<V>;
  k.exp_columns = exp_columns<V>;
}

}  // namespace
}  // namespace lsrt
