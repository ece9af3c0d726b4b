// Linear layers.
#pragma once

#include "runtime/device/dev.h"
#include "runtime/device/stream.h"

namespace lsrt {

// A linear layer ready to run; owned by the backend that prepared it.
class Linear {
 public:
  virtual ~Linear() = default;
  size_t outputs = 0, inputs = 0;
};

class LinearOps {
 public:
  virtual ~LinearOps() = default;

  // What linear() of so many rows needs. The view tells extents only: nothing is prepared.
  virtual void plan(const LinearView& view, size_t rows, StreamPlan* plan) const = 0;

  // y[rows, outputs] = activation(linear(x[rows, inputs]))
  virtual void linear(Stream& stream, const Linear& linear, Dev<const float> x, size_t rows,
                      Activation activation, Dev<float> y) const = 0;
};

}  // namespace lsrt
