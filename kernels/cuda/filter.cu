// Filters of a grid (runtime/device/ops_filter.h) in three steps, each a thread a sum: in the order of
// kernels/filter/scalar.cc.
#include "kernels/cuda/row_math.h"

namespace lsrt {
namespace cuda {

// Rows to their frequencies: spectrum [grid, frequencies, 2, width].
LSRT_KERNEL(filter_forward, FilterForwardParams, 256) {
  const uint32_t n = p.grid, frequencies = n / 2 + 1;
  for (uint64_t item = first_item(); item < uint64_t{n} * frequencies * p.width; item += all_threads()) {
    const uint64_t c = item % p.width, at = item / p.width, f = at % frequencies, row = at / frequencies;
    const float *x = p.x + row * n * p.width + c, *cosine = p.cosines + f * n, *sine = p.sines + f * n;
    float re = 0, im = 0;
    for (uint32_t u = 0; u < n; ++u) {
      re = fmaf(cosine[u], x[uint64_t{u} * p.width], re);
      im = fmaf(sine[u], x[uint64_t{u} * p.width], im);
    }
    p.spectrum[2 * at * p.width + c] = re;
    p.spectrum[(2 * at + 1) * p.width + c] = im;
  }
}

// Columns of one spectrum, convolved with those of the kernel's.
LSRT_KERNEL(filter_columns, FilterColumnsParams, 256) {
  const uint32_t n = p.grid, frequencies = n / 2 + 1;
  const uint64_t row_floats = 2 * uint64_t{frequencies} * p.width;
  for (uint64_t item = first_item(); item < uint64_t{n} * frequencies * p.width; item += all_threads()) {
    const uint64_t c = item % p.width, at = item / p.width, f = at % frequencies, row = at / frequencies;
    const uint64_t within = 2 * f * p.width + c;
    float re = 0, im = 0;
    for (uint32_t i = 0; i < n; ++i) {
      const float* k = p.kernel + i * row_floats + within;
      const float* v = p.spectrum + (row >= i ? row - i : row + n - i) * row_floats + within;
      const float k_re = k[0], k_im = k[p.width], v_re = v[0], v_im = v[p.width];
      re = fmaf(0 - k_im, v_im, fmaf(k_re, v_re, re));
      im = fmaf(k_im, v_re, fmaf(k_re, v_im, im));
    }
    p.product[row * row_floats + within] = re;
    p.product[row * row_floats + within + p.width] = im;
  }
}

// And back.
LSRT_KERNEL(filter_back, FilterBackParams, 256) {
  const uint32_t n = p.grid, frequencies = n / 2 + 1;
  for (uint64_t item = first_item(); item < uint64_t{n} * n * p.width; item += all_threads()) {
    const uint64_t c = item % p.width, at = item / p.width, u = at % n, row = at / n;
    const float* z = p.product + 2 * row * frequencies * p.width + c;
    float y = 0;
    for (uint32_t f = 0; f < frequencies; ++f, z += 2 * uint64_t{p.width}) {
      y = fmaf(p.cosines[f * n + u], z[0], y);
      y = fmaf(p.sines[f * n + u], z[p.width], y);
    }
    p.y[item] = y;
  }
}

}  // namespace cuda
}  // namespace lsrt
