// Float weights to the two precisions of the model file.
//
// int8 is symmetric with one scale per output channel (row): value = q * scale, q in -127 .. 127. The scale
// of a row is the one of a few clipping ranges that leaves the smallest squared error, so that a single
// outlier does not cost the rest of its row their resolution.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "converter/writer/model_writer.h"

namespace lsrt {

enum class Precision : uint8_t { kInt8, kFloat32 };

// How far the stored values lie from the originals.
struct QuantizationError {
  double relative_rms = 0;  // sqrt(sum (x - y)^2 / sum x^2)
  double max_abs = 0;       // max |x - y|
  double cosine = 1;        // of the angle between both
  double snr_db = 0;        // -20 log10(relative_rms); infinite (here 999) if there is no error
};

// The scale for one row: 0 if all is (nearly) zero.
float choose_scale(const float* row, size_t columns);

// [groups, rows, columns] row-major to int8 panels (kernels/gemm/gemm.h), anew in each group. threads: 0: all
// of the machine; results do not depend on them.
TensorBytes quantize(const std::vector<float>& values, size_t groups, size_t rows, size_t columns,
                     QuantizationError* error, size_t threads = 1);

// Row-major float32.
TensorBytes store_floats(const std::vector<float>& values);

}  // namespace lsrt
