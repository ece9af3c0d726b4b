// The definition of the filter: plain loops, never optimized. Other kernel sets return the same bits.
#include <math.h>

#include "kernels/isa_sets.h"

namespace lsrt {
namespace scalar {
namespace {

void global_filter(const FilterRows& p) {
  const size_t n = p.grid, frequencies = filter_frequencies(n);
  float *spectrum = p.scratch, *product = spectrum + 2 * n * frequencies;  // [n, frequencies, 2]
  for (size_t c = 0; c < p.channels; ++c) {
    for (size_t r = 0; r < n; ++r) {
      for (size_t f = 0; f < frequencies; ++f) {
        float re = 0, im = 0;
        for (size_t u = 0; u < n; ++u) {
          const float x = p.x[(r * n + u) * p.ld_x + c];
          re = fmaf(p.cosines[f * n + u], x, re);
          im = fmaf(p.sines[f * n + u], x, im);
        }
        spectrum[2 * (r * frequencies + f)] = re, spectrum[2 * (r * frequencies + f) + 1] = im;
      }
    }
    for (size_t r = 0; r < n; ++r) {
      for (size_t f = 0; f < frequencies; ++f) {
        float re = 0, im = 0;
        for (size_t i = 0; i < n; ++i) {
          const float* k = p.spectrum + 2 * (i * frequencies + f) * p.ld_spectrum + c;
          const float* v = spectrum + 2 * ((r + n - i) % n * frequencies + f);
          const float k_re = k[0], k_im = k[p.ld_spectrum];
          re = fmaf(k_re, v[0], re), re = fmaf(0 - k_im, v[1], re);
          im = fmaf(k_re, v[1], im), im = fmaf(k_im, v[0], im);
        }
        product[2 * (r * frequencies + f)] = re, product[2 * (r * frequencies + f) + 1] = im;
      }
    }
    for (size_t r = 0; r < n; ++r) {
      for (size_t u = 0; u < n; ++u) {
        float y = 0;
        for (size_t f = 0; f < frequencies; ++f) {
          y = fmaf(p.cosines[f * n + u], product[2 * (r * frequencies + f)], y);
          y = fmaf(p.sines[f * n + u], product[2 * (r * frequencies + f) + 1], y);
        }
        p.y[(r * n + u) * p.ld_y + c] = y;
      }
    }
  }
}

}  // namespace

void provide(FilterKernels& k) { k.global_filter = global_filter; }

}  // namespace scalar
}  // namespace lsrt
