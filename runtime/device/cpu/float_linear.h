// Float32 linear layers on the CPU, the reference path. Either of two files defines them: linear_xnnpack.cc
// by XNNPACK, which packs a copy of the weights; linear_plain.cc, in builds without XNNPACK, by plain loops
// over the weights of the model.
#pragma once

#include <cstddef>
#include <memory>

#include "base/status.h"
#include "kernels/rows/rows.h"
#include "runtime/device/backend.h"

namespace lsrt {

class CpuStream;

class FloatLinear : public Linear {
 public:
  // The weights [outputs, inputs] and bias [outputs] or null of `view` must outlive the layer.
  static Result<std::unique_ptr<FloatLinear>> create(const LinearView& view, const RowKernels& kernels);

  // y[rows, outputs] = x[rows, inputs] * weights^T + bias. May be called by several streams at a time.
  virtual void run(const CpuStream& stream, const float* x, size_t rows, float* y) const = 0;
};

// What the float32 layers need beside a stream's own threads, null if nothing. Deletes itself.
std::shared_ptr<void> make_float_threads(size_t threads);

}  // namespace lsrt
