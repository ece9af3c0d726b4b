// Filters as large as a grid of rows (GFNet; spec more-mixers, section 2).
#pragma once

#include "runtime/device/dev.h"
#include "runtime/device/stream.h"

namespace lsrt {

// y = the circular convolution of each channel of a grid with its own kernel, by way of the frequencies of
// the grid's rows: what is computed in which order, kernels/filter/filter.h says.
struct GlobalFilterRows {
  size_t grid, width;               // n; rows are n x n, row-major
  Dev<const float> x;               // [n * n, width]
  Dev<const float> cosines, sines;  // [n / 2 + 1, n]: of 2 pi f u / n
  // [n, n / 2 + 1, 2, width]: the kernel's rows, the sum over j of kernel[i, j] e^(2 pi i f j / n), weighed
  // by 2 / n, or 1 / n where f is 0 or n / 2.
  Dev<const float> spectrum;
  Dev<float> y;  // [n * n, width]; may be x
};

class FilterOps {
 public:
  virtual ~FilterOps() = default;

  virtual void plan(const GlobalFilterRows& shape, StreamPlan* plan) const = 0;
  virtual void global_filter(Stream& stream, const GlobalFilterRows& filter) const = 0;
};

}  // namespace lsrt
