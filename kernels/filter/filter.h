// Filters of a grid of rows by kernels as large as the grid (GFNet), float32: every channel by itself,
// channels next to each other in memory. A row of the grid is taken to the frequencies f = 0 .. n / 2, where
// wrapping around is a product; its columns are convolved as they are; then the row is taken back. That is
// n^3 steps a channel instead of the n^4 of the kernel itself.
//
// Every kernel set returns the same bits, in however many calls channels come: sums start from 0 and ascend,
// "fma" is one rounding, all else one rounding an operation.
#pragma once

#include <stddef.h>

namespace lsrt {

constexpr size_t filter_frequencies(size_t grid) { return grid / 2 + 1; }

struct FilterRows {
  size_t grid, channels;  // n; rows are n x n, row-major
  const float* x;         // [n * n], ld_x apart
  size_t ld_x;
  const float *cosines, *sines;  // [frequencies, n]: of 2 pi f u / n
  const float* spectrum;         // [n, frequencies, 2], ld_spectrum apart: of the kernel's rows, weighed
  size_t ld_spectrum;
  float* scratch;  // filter_scratch_floats(grid)
  float* y;        // [n * n], ld_y apart; may be x
  size_t ld_y;
};

// Two spectra of 16 channels.
constexpr size_t filter_scratch_floats(size_t grid) { return 2 * grid * filter_frequencies(grid) * 2 * 16; }

struct FilterKernels {
  // Per channel:
  //   X[r][f] = sum over u of (fma(cosines[f][u], x[r][u]), fma(sines[f][u], x[r][u]))
  //   Y[r][f] = sum over i of spectrum[i][f] X[(r - i) mod n][f], complex: with (a, b) (c, d)
  //             re = fma(a, c, re), re = fma(0 - b, d, re), im = fma(a, d, im), im = fma(b, c, im)
  //   y[r][u] = sum over f of fma(cosines[f][u], re Y[r][f]), then fma(sines[f][u], im Y[r][f])
  void (*global_filter)(const FilterRows& rows);
};

}  // namespace lsrt
