#include "converter/writer/quantize.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "converter/writer/parallel.h"
#include "kernels/gemm/gemm.h"

namespace lsrt {
namespace {

constexpr float kLargest = 127;  // -128 is never used: rows stay symmetric, sums stay within 127 * columns
constexpr size_t kLanes = 8;     // independent sums, which the compiler turns into vectors

// Fractions of the largest magnitude that are tried as the clipping point.
constexpr float kClips[] = {1.0f, 0.97f, 0.94f, 0.9f, 0.85f, 0.8f, 0.7f};

// To the nearest integer, ties to even, for |x| < 2^22: adding 1.5 * 2^23 leaves no bits for a fraction.
float round_even(float x) {
  const float shifted = x + 12582912.0f;
  return shifted - 12582912.0f;
}

float quantized(float x, float inverse_scale) {
  return round_even(std::min(std::max(x * inverse_scale, -kLargest), kLargest));
}

// What one scale makes of a row: squared error, and the products that give the best scale for the same
// integers.
struct Fit {
  double error = 0;  // sum (x - q scale)^2
  double xq = 0;     // sum x q
  double qq = 0;     // sum q^2
};

Fit fit(const float* row, size_t columns, float scale) {
  const float inverse = 1 / scale;
  float error[kLanes] = {}, xq[kLanes] = {}, qq[kLanes] = {};
  const auto add = [&](float x, size_t lane) {
    const float q = quantized(x, inverse);
    const float difference = x - q * scale;
    error[lane] += difference * difference;
    xq[lane] += x * q;
    qq[lane] += q * q;
  };
  size_t k = 0;
  for (; k + kLanes <= columns; k += kLanes) {
    for (size_t lane = 0; lane < kLanes; lane++) add(row[k + lane], lane);
  }
  for (size_t lane = 0; k < columns; k++, lane++) add(row[k], lane);
  Fit sum;
  for (size_t lane = 0; lane < kLanes; lane++) {
    sum.error += static_cast<double>(error[lane]);
    sum.xq += static_cast<double>(xq[lane]);
    sum.qq += static_cast<double>(qq[lane]);
  }
  return sum;
}

// Sums over a tensor, for QuantizationError.
struct ErrorSums {
  double xx = 0, yy = 0, xy = 0, error = 0, max_abs = 0;

  void add(float value, float stored) {
    const double x = static_cast<double>(value), y = static_cast<double>(stored);
    xx += x * x;
    yy += y * y;
    xy += x * y;
    error += (x - y) * (x - y);
    max_abs = std::max(max_abs, std::abs(x - y));
  }

  void add(const ErrorSums& other) {
    xx += other.xx, yy += other.yy, xy += other.xy, error += other.error;
    max_abs = std::max(max_abs, other.max_abs);
  }

  QuantizationError result() const {
    QuantizationError result;
    result.max_abs = max_abs;
    result.relative_rms = error > 0 ? std::sqrt(error / xx) : 0;
    result.cosine = xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : 1;
    result.snr_db = error > 0 ? -20 * std::log10(result.relative_rms) : 999;
    return result;
  }
};

}  // namespace

float choose_scale(const float* row, size_t columns) {
  float largest = 0;
  for (size_t k = 0; k < columns; k++) largest = std::max(largest, std::abs(row[k]));
  if (largest / kLargest < FLT_MIN) return 0;  // its inverse would not be finite
  float best_scale = 0;
  Fit best;
  for (float clip : kClips) {
    const float scale = largest * clip / kLargest;
    const Fit candidate = fit(row, columns, scale);
    if (best_scale == 0 || candidate.error < best.error) {
      best_scale = scale;
      best = candidate;
    }
  }
  // The least-squares scale for the integers found; kept if it holds after rounding to it again.
  const auto refined = static_cast<float>(best.xq / best.qq);
  if (refined >= FLT_MIN && fit(row, columns, refined).error < best.error) best_scale = refined;
  return best_scale;
}

TensorBytes quantize(const std::vector<float>& values, size_t groups, size_t rows, size_t columns,
                     QuantizationError* error, size_t threads) {
  const size_t group_panels = panel_count(rows);
  TensorBytes bytes;
  bytes.data.assign(groups * group_panels * panel_bytes(columns), 0);
  bytes.scales.assign(groups * group_panels * kPanelOutputs, 0);
  bytes.sums.assign(groups * group_panels * kPanelOutputs, 0);
  std::vector<ErrorSums> sums(groups * rows);
  parallel_ranges(sums.size(), threads, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      const float* row = values.data() + i * columns;
      const size_t packed_row = i / rows * group_panels * kPanelOutputs + i % rows;
      const float scale = choose_scale(row, columns);
      const float inverse = scale > 0 ? 1 / scale : 0;
      int32_t sum = 0;
      for (size_t k = 0; k < columns; k++) {
        const float q = quantized(row[k], inverse);
        const auto integer = static_cast<int8_t>(q);
        bytes.data[panel_offset(packed_row, k, columns)] = static_cast<uint8_t>(integer);
        sum += integer;
        sums[i].add(row[k], q * scale);
      }
      bytes.scales[packed_row] = scale;
      bytes.sums[packed_row] = sum;
    }
  });
  ErrorSums all;
  for (const ErrorSums& row : sums) all.add(row);
  *error = all.result();
  return bytes;
}

TensorBytes store_floats(const std::vector<float>& values) {
  TensorBytes bytes;
  bytes.data.resize(values.size() * sizeof(float));
  std::memcpy(bytes.data.data(), values.data(), bytes.data.size());
  return bytes;
}

}  // namespace lsrt
