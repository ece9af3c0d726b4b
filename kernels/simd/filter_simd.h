// The operations of filter.h for any vector type (lanes_simd.h says what it has). Vectors run across
// channels, so nothing is summed across lanes: 16 channels, a line of the cache in every row, pass all steps
// together, a few sums at a time so that one does not wait for another.
#pragma once

#include <stddef.h>

#include "kernels/filter/filter.h"
#include "kernels/simd/lanes_simd.h"

namespace lsrt {
namespace {

// Calls step(count, i) for kTile items at a time, then for each of those that are left.
template <size_t kTile, typename Step>
inline __attribute__((always_inline)) void for_tiles(size_t n, Step step) {
  size_t i = 0;
  for (; i + kTile <= n; i += kTile) step(Count<kTile>(), i);
  for (; i < n; ++i) step(Count<1>(), i);
}

template <typename V, size_t kCount>
struct FilterSome {
  using Floats = typename V::Floats;
  using All = typename V::Whole;
  static constexpr size_t kWidth = V::kWidth, kChannels = kCount * kWidth;
  static constexpr size_t kTile = kWidth >= 16 ? 4 : 2;  // sums, as many as registers hold

  const FilterRows& p;
  const size_t n, frequencies;
  float *const spectrum, *const product;  // [n, frequencies, 2, kChannels]

  explicit FilterSome(const FilterRows& rows)
      : p(rows),
        n(rows.grid),
        frequencies(filter_frequencies(rows.grid)),
        spectrum(rows.scratch),
        product(rows.scratch + 2 * n * frequencies * kChannels) {}

  float* at_frequency(float* of, size_t r, size_t f) const {
    return of + 2 * (r * frequencies + f) * kChannels;
  }

  template <size_t kSums>
  void store(float* to, const Floats (&re)[kSums][kCount], const Floats (&im)[kSums][kCount],
             size_t distance) const {
    for (size_t t = 0; t < kSums; ++t, to += distance) {
      for (size_t i = 0; i < kCount; ++i) {
        All().store(to + i * kWidth, re[t][i]);
        All().store(to + kChannels + i * kWidth, im[t][i]);
      }
    }
  }

  template <typename At>
  inline __attribute__((always_inline)) void forward(size_t c, const At at) const {
    for (size_t r = 0; r < n; ++r) {
      for_tiles<kTile>(frequencies, [&](auto sums, size_t f) {
        constexpr size_t kSums = decltype(sums)::value;
        Floats re[kSums][kCount], im[kSums][kCount];
        clear(re), clear(im);
        const float *x = p.x + r * n * p.ld_x + c, *cosine = p.cosines + f * n, *sine = p.sines + f * n;
        for (size_t u = 0; u < n; ++u, x += p.ld_x) {
#pragma GCC unroll 4
          for (size_t i = 0; i < kCount; ++i) {
            const Floats v = at.load(x + i * kWidth);
#pragma GCC unroll 4
            for (size_t t = 0; t < kSums; ++t) {
              re[t][i] = V::fma(V::set(cosine[t * n + u]), v, re[t][i]);
              im[t][i] = V::fma(V::set(sine[t * n + u]), v, im[t][i]);
            }
          }
        }
        store(at_frequency(spectrum, r, f), re, im, 2 * kChannels);
      });
    }
  }

  template <typename At>
  inline __attribute__((always_inline)) void columns(size_t c, const At at) const {
    for (size_t f = 0; f < frequencies; ++f) {
      for_tiles<kTile>(n, [&](auto sums, size_t r) {
        constexpr size_t kSums = decltype(sums)::value;
        Floats re[kSums][kCount], im[kSums][kCount];
        clear(re), clear(im);
        for (size_t j = 0; j < n; ++j) {
          const float* k = p.spectrum + 2 * (j * frequencies + f) * p.ld_spectrum + c;
#pragma GCC unroll 4
          for (size_t i = 0; i < kCount; ++i) {
            const Floats k_re = at.load(k + i * kWidth), k_im = at.load(k + p.ld_spectrum + i * kWidth);
            const Floats minus = V::sub(V::set(0.0f), k_im);
#pragma GCC unroll 4
            for (size_t t = 0; t < kSums; ++t) {
              const size_t row = r + t >= j ? r + t - j : r + t + n - j;
              const float* v = at_frequency(spectrum, row, f) + i * kWidth;
              const Floats v_re = All().load(v), v_im = All().load(v + kChannels);
              re[t][i] = V::fma(minus, v_im, V::fma(k_re, v_re, re[t][i]));
              im[t][i] = V::fma(k_im, v_re, V::fma(k_re, v_im, im[t][i]));
            }
          }
        }
        store(at_frequency(product, r, f), re, im, 2 * frequencies * kChannels);
      });
    }
  }

  template <typename At>
  inline __attribute__((always_inline)) void back(size_t c, const At at) const {
    for (size_t r = 0; r < n; ++r) {
      for_tiles<2 * kTile>(n, [&](auto sums, size_t u) {
        constexpr size_t kSums = decltype(sums)::value;
        Floats y[kSums][kCount];
        clear(y);
        const float *z = at_frequency(product, r, 0), *cosine = p.cosines + u, *sine = p.sines + u;
        for (size_t f = 0; f < frequencies; ++f, z += 2 * kChannels, cosine += n, sine += n) {
#pragma GCC unroll 4
          for (size_t i = 0; i < kCount; ++i) {
            const Floats re = All().load(z + i * kWidth), im = All().load(z + kChannels + i * kWidth);
#pragma GCC unroll 8
            for (size_t t = 0; t < kSums; ++t) {
              y[t][i] = V::fma(V::set(sine[t]), im, V::fma(V::set(cosine[t]), re, y[t][i]));
            }
          }
        }
        for (size_t t = 0; t < kSums; ++t) {
          float* to = p.y + (r * n + u + t) * p.ld_y + c;
          for (size_t i = 0; i < kCount; ++i) at.store(to + i * kWidth, y[t][i]);
        }
      });
    }
  }

 private:
  template <size_t kSums>
  static void clear(Floats (&sum)[kSums][kCount]) {
    for (auto& of : sum) {
      for (Floats& v : of) v = V::set(0.0f);
    }
  }
};

template <typename V>
void global_filter(const FilterRows& p) {
  for_channels<V>(p.channels, [&](auto count, size_t c, auto at) {
    const FilterSome<V, decltype(count)::value> some(p);
    some.forward(c, at);
    some.columns(c, at);
    some.back(c, at);
  });
}

template <typename V>
void provide_filter(FilterKernels& k) {
  k.global_filter = global_filter<V>;
}

}  // namespace
}  // namespace lsrt
