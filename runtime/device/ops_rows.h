// What is done to rows one by one, and to vectors.
#pragma once

#include "runtime/device/dev.h"
#include "runtime/device/stream.h"

namespace lsrt {

class RowOps {
 public:
  virtual ~RowOps() = default;

  // x += residual (unless null); y = norm(x) over rows of `width`. y may be x.
  virtual void add_norm(Stream& stream, const DeviceNorm& norm, size_t width, Dev<const float> residual,
                        size_t rows, Dev<float> x, Dev<float> y) const = 0;

  // y = norm(x) over rows of `width`, x_stride and y_stride floats apart; no norm copies. y may be x.
  virtual void layer_norm(Stream& stream, const DeviceNorm& norm, size_t width, Dev<const float> x,
                          size_t x_stride, size_t rows, Dev<float> y, size_t y_stride) const = 0;
  void copy_rows(Stream& stream, size_t width, Dev<const float> x, size_t x_stride, size_t rows, Dev<float> y,
                 size_t y_stride) const {
    layer_norm(stream, DeviceNorm(), width, x, x_stride, rows, y, y_stride);
  }

  // x[n] = 0
  virtual void clear(Stream& stream, Dev<float> x, size_t n) const = 0;

  // y[n] += x[n]
  virtual void add(Stream& stream, Dev<const float> x, size_t n, Dev<float> y) const = 0;

  // y[i] = table[tokens[i]] * scale + positions[i] over rows of `width` (positions may be null; tokens are in
  // range)
  virtual void embed(Stream& stream, const DeviceTensor& table, float scale, size_t width,
                     Dev<const int32_t> tokens, size_t rows, Dev<const float> positions,
                     Dev<float> y) const = 0;

  // out[width] = (sum of x[rows, width]) / divisor
  virtual void mean_rows(Stream& stream, Dev<const float> x, size_t rows, size_t width, float divisor,
                         Dev<float> out) const = 0;

  // out[4 * width] = a, b, a * b, a - b of features[2, width] = a, b, which two documents have.
  virtual void compare(Stream& stream, Dev<const float> features, size_t width, Dev<float> out) const = 0;

  // In place, x[rows, width]: logits to log-probabilities, by exact_math.h in double. The sum has one order:
  // term k belongs to lane k % 256; lanes add in ascending order, then are folded, l += l + 128 to l += l + 1.
  virtual void log_softmax(Stream& stream, size_t width, size_t rows, Dev<float> x) const = 0;
};

}  // namespace lsrt
