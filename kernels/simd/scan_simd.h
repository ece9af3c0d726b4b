// The operations of scan.h for any vector type (lanes_simd.h says what it has). In selective_scan vectors run
// across channels, so nothing is summed across lanes: 16 channels, a line of the cache in every row, pass all
// rows together while their states stay in the first cache.
#pragma once

#include <stddef.h>
#include <string.h>

#include "kernels/rows/rows_math.h"
#include "kernels/scan/scan.h"
#include "kernels/scan/scan_math.h"
#include "kernels/simd/lanes_simd.h"

namespace lsrt {
namespace {

template <typename V>
inline __attribute__((always_inline)) typename V::Floats exp_bounded(typename V::Floats x) {
  using Floats = typename V::Floats;
  x = V::max(x, V::set(kExpMin));
  const Floats shifted = V::fma(x, V::set(kLog2E), V::set(kRoundMagic));
  const Floats n = V::sub(shifted, V::set(kRoundMagic));
  Floats r = V::fma(n, V::set(-kLn2High), x);
  r = V::fma(n, V::set(-kLn2Low), r);
  const Floats r2 = V::mul(r, r);
  const Floats low = V::fma(V::set(kExp2), r, V::set(kExp1));
  Floats high = V::fma(V::set(kExp4), r, V::set(kExp3));
  high = V::fma(V::set(kExp5), r2, high);
  return V::add_to_exponent(V::fma(V::fma(high, r2, low), r, V::set(1.0f)), shifted);
}

template <typename V>
inline __attribute__((always_inline)) typename V::Floats silu(typename V::Floats x) {
  const typename V::Floats zero = V::set(0.0f);
  const typename V::Floats e = exp_bounded<V>(V::sub(V::set(-0.0f), V::abs(x)));
  return V::div(V::fma(V::min(zero, x), e, V::max(x, zero)), V::add(V::set(1.0f), e));
}

template <typename V>
inline __attribute__((always_inline)) typename V::Floats softplus(typename V::Floats x) {
  const typename V::Floats e = exp_bounded<V>(V::sub(V::set(-0.0f), V::abs(x)));
  typename V::Floats p = V::set(kLog1p[kLog1pDegree]);
#pragma GCC unroll 8
  for (int k = kLog1pDegree - 1; k >= 0; --k) p = V::fma(p, e, V::set(kLog1p[k]));
  return V::fma(e, p, V::max(V::set(0.0f), x));
}

// Row after row: the taps' rows of a piece of channels are still in the first cache.
template <typename V>
void convolve(const ConvolveRows& r) {
  using Floats = typename V::Floats;
  const size_t before = r.taps - 1;
  const auto row = [&](size_t t) {
    return t < before ? r.history + t * r.ld_history : r.x + (t - before) * r.ld_x;
  };
  for (size_t t = 0; t < r.rows; ++t) {
    for_channels<V>(r.channels, [&](auto count, size_t c, auto at) {
      constexpr size_t kCount = decltype(count)::value;
      Floats s[kCount];
      for (size_t i = 0; i < kCount; ++i) {
        s[i] = r.bias ? at.load(r.bias + c + i * V::kWidth) : V::set(0.0f);
      }
      for (size_t j = 0; j < r.taps; ++j) {
        const float *weight = r.weight + j * r.ld_weight + c, *x = row(t + j) + c;
        for (size_t i = 0; i < kCount; ++i) {
          s[i] = V::fma(at.load(weight + i * V::kWidth), at.load(x + i * V::kWidth), s[i]);
        }
      }
      for (size_t i = 0; i < kCount; ++i) at.store(r.y + t * r.ld_y + c + i * V::kWidth, silu<V>(s[i]));
    });
  }
  for (size_t j = 0; j < before; ++j) {
    memmove(r.history + j * r.ld_history, row(r.rows + j), r.channels * sizeof(float));
  }
}

template <typename V, size_t kCount, typename At>
inline __attribute__((always_inline)) void scan_some(const ScanRows& r, size_t c, const At at) {
  using Floats = typename V::Floats;
  constexpr size_t kWidth = V::kWidth;
  const typename V::Whole all;
  alignas(64) float a[kMaxScanStates][kCount * kWidth], h[kMaxScanStates][kCount * kWidth];
  for (size_t k = 0; k < r.states; ++k) {
    for (size_t i = 0; i < kCount; ++i) {
      all.store(a[k] + i * kWidth, at.load(r.a + k * r.ld_state + c + i * kWidth));
      all.store(h[k] + i * kWidth, at.load(r.state + k * r.ld_state + c + i * kWidth));
    }
  }
  for (size_t t = 0; t < r.rows; ++t) {
    const float *b = r.b + t * r.ld_parameters, *parameter_c = r.c + t * r.ld_parameters;
    Floats v[kCount], dt[kCount], w[kCount], y[kCount];
    for (size_t i = 0; i < kCount; ++i) {
      v[i] = at.load(r.v + t * r.ld_v + c + i * kWidth);
      dt[i] = softplus<V>(at.load(r.step + t * r.ld_step + c + i * kWidth));
      w[i] = V::mul(dt[i], v[i]);
      y[i] = V::set(0.0f);
    }
    for (size_t k = 0; k < r.states; ++k) {
      const Floats bk = V::set(b[k]), ck = V::set(parameter_c[k]);
#pragma GCC unroll 4
      for (size_t i = 0; i < kCount; ++i) {
        const Floats p = exp_bounded<V>(V::mul(dt[i], all.load(a[k] + i * kWidth)));
        const Floats state = V::fma(p, all.load(h[k] + i * kWidth), V::mul(w[i], bk));
        all.store(h[k] + i * kWidth, state);
        y[i] = V::fma(state, ck, y[i]);
      }
    }
    for (size_t i = 0; i < kCount; ++i) {
      const Floats out = V::fma(at.load(r.d + c + i * kWidth), v[i], y[i]);
      const Floats z = at.load(r.z + t * r.ld_z + c + i * kWidth);
      at.store(r.y + t * r.ld_y + c + i * kWidth, V::mul(out, silu<V>(z)));
    }
  }
  for (size_t k = 0; k < r.states; ++k) {
    for (size_t i = 0; i < kCount; ++i) {
      at.store(r.state + k * r.ld_state + c + i * kWidth, all.load(h[k] + i * kWidth));
    }
  }
}

template <typename V>
void selective_scan(const ScanRows& r) {
  for_channels<V>(r.channels,
                  [&](auto count, size_t c, auto at) { scan_some<V, decltype(count)::value>(r, c, at); });
}

template <typename V>
void dual_steps(const DualSteps& s) {
  for (size_t t = 0; t < s.rows; ++t) {
    for_each<V>(s.heads, [&](size_t i, size_t, auto at) {
      const typename V::Floats step = V::add(at.load(s.step + t * s.ld_step + i), at.load(s.bias + i));
      const typename V::Floats dt = V::min(V::set(s.high), V::max(V::set(s.low), softplus<V>(step)));
      at.store(s.dt + t * s.heads + i, dt);
      at.store(s.decay + t * s.heads + i, exp_bounded<V>(V::mul(dt, at.load(s.a + i))));
    });
  }
}

// One row of kCount channels, whose states lie one after the other: b and c are loaded once for all.
template <typename V, size_t kCount>
inline __attribute__((always_inline)) void dual_row(const DualScanRows& r, size_t t, size_t c) {
  using Floats = typename V::Floats;
  const float *b = r.b + t * r.ld_parameters, *parameter_c = r.c + t * r.ld_parameters;
  const float *v = r.v + t * r.ld_v + c, dt = r.dt[t * r.ld_steps];
  const Floats decay = V::set(r.decay[t * r.ld_steps]);
  Lanes<V> sum[kCount];
  Floats w[kCount];
  for (size_t i = 0; i < kCount; ++i) {
    sum[i] = Lanes<V>(0.0f);
    w[i] = V::set(dt * v[i]);
  }
  for_each<V>(r.states, [&](size_t k, size_t j, auto at) {
    const Floats bk = at.load(b + k), ck = at.load(parameter_c + k);
#pragma GCC unroll 4
    for (size_t i = 0; i < kCount; ++i) {
      float* h = r.state + (c + i) * r.states + k;
      const Floats state = at.keep(V::fma(decay, at.load(h), V::mul(w[i], bk)));
      at.store(h, state);
      sum[i].v[j] = V::fma(state, ck, sum[i].v[j]);
    }
  });
  for (size_t i = 0; i < kCount; ++i) {
    r.y[t * r.ld_y + c + i] = __builtin_fmaf(r.d[r.d_per_channel ? c + i : 0], v[i], sum[i].fold_sum());
  }
}

// A few rows at a time: their b and c stay in the first cache while all channels pass, and a channel's states
// while the rows do.
template <typename V>
void dual_scan(const DualScanRows& r) {
  constexpr size_t kRows = 16, kChannels = V::kWidth >= 16 ? 4 : 2;
  for (size_t first = 0; first < r.rows; first += kRows) {
    const size_t end = first + kRows < r.rows ? first + kRows : r.rows;
    size_t c = 0;
    for (; c + kChannels <= r.channels; c += kChannels) {
      for (size_t t = first; t < end; ++t) dual_row<V, kChannels>(r, t, c);
    }
    for (; c < r.channels; ++c) {
      for (size_t t = first; t < end; ++t) dual_row<V, 1>(r, t, c);
    }
  }
}

template <typename V>
void gate(const float* z, size_t n, float* y) {
  for_each<V>(n, [&](size_t i, size_t, auto at) {
    at.store(y + i, V::mul(at.load(y + i), silu<V>(at.load(z + i))));
  });
}

template <typename V>
void provide_scan(ScanKernels& k) {
  k.convolve = convolve<V>;
  k.selective_scan = selective_scan<V>;
  k.dual_steps = dual_steps<V>;
  k.dual_scan = dual_scan<V>;
  k.gate = gate<V>;
}

}  // namespace
}  // namespace lsrt
