// What is done to rows one by one, and to vectors (runtime/device/ops_rows.h).
#include "base/exact_math.h"
#include "kernels/cuda/row_math.h"

namespace lsrt {
namespace cuda {

// A half warp a row; a lane touches its own elements only.
LSRT_KERNEL(norm, NormParams, 128) {
  const uint32_t row = half_warp(), n = row < p.rows ? p.width : 0;
  const float* x = p.x + row * p.x_stride;
  const float* residual = p.residual ? p.residual + row * p.residual_stride : nullptr;
  float* sum = p.sum ? p.sum + row * p.sum_stride : nullptr;
  float* y = p.y + row * p.y_stride;
  if (residual && sum) {
    for (uint32_t i = half_lane(); i < n; i += kHalfWarp) sum[i] = x[i] + residual[i];
    x = sum, residual = nullptr;
  }
  const auto element = [&](uint32_t i) { return residual ? x[i] + residual[i] : x[i]; };
  const Measured measured = measure(p.norm, n, element);
  for (uint32_t i = half_lane(); i < n; i += kHalfWarp) y[i] = normed(p.norm, measured, i, element(i));
}

LSRT_KERNEL(embed, EmbedParams, 256) {
  for (uint64_t item = first_item(); item < uint64_t{p.rows} * p.width; item += all_threads()) {
    const uint32_t row = static_cast<uint32_t>(item / p.width), k = static_cast<uint32_t>(item % p.width);
    const auto token = static_cast<uint32_t>(p.tokens[row]);
    float y;
    if (p.scales) {
      y = p.scales[token] * p.scale * static_cast<const int8_t*>(p.table)[panel_offset(token, k, p.width)];
    } else {
      y = static_cast<const float*>(p.table)[uint64_t{token} * p.width + k] * p.scale;
    }
    p.y[item] = p.positions ? y + p.positions[item] : y;
  }
}

LSRT_KERNEL(add, AddParams, 256) {
  for (uint64_t i = first_item(); i < p.n; i += all_threads()) p.y[i] += p.x[i];
}

LSRT_KERNEL(mean_rows, MeanRowsParams, 256) {
  for (uint64_t k = first_item(); k < p.width; k += all_threads()) {
    float sum = 0;
    for (uint32_t row = 0; row < p.rows; ++row) sum += p.x[uint64_t{row} * p.width + k];
    p.out[k] = sum / p.divisor;
  }
}

LSRT_KERNEL(compare, CompareParams, 256) {
  for (uint64_t k = first_item(); k < p.width; k += all_threads()) {
    const float a = p.features[k], b = p.features[p.width + k];
    p.out[k] = a;
    p.out[p.width + k] = b;
    p.out[2 * p.width + k] = a * b;
    p.out[3 * p.width + k] = a - b;
  }
}

struct LogSoftmaxShared {
  double sums[256];
  float largest[8];
  double shift;
};

// A block a row, a lane of the sum a thread.
LSRT_KERNEL(log_softmax, LogSoftmaxParams, 256) {
  LSRT_SHARED(LogSoftmaxShared, s);
  float* x = p.x + uint64_t{blockIdx.x} * p.width;
  float largest = kMaskedScore;
  for (uint32_t k = threadIdx.x; k < p.width; k += blockDim.x) largest = max_of(x[k], largest);
  largest = largest_of<kWarp>(largest);
  if (threadIdx.x % kWarp == 0) s.largest[threadIdx.x / kWarp] = largest;
  __syncthreads();
  for (uint32_t warp = 0; warp < 8; ++warp) largest = max_of(s.largest[warp], largest);
  double sum = 0;
  for (uint32_t k = threadIdx.x; k < p.width; k += blockDim.x) {
    sum += exact_exp(static_cast<double>(x[k]) - largest);
  }
  s.sums[threadIdx.x] = sum;
  __syncthreads();
  for (uint32_t half = 128; half > 0; half /= 2) {
    if (threadIdx.x < half) s.sums[threadIdx.x] += s.sums[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) s.shift = largest + exact_log(s.sums[0]);
  __syncthreads();
  for (uint32_t k = threadIdx.x; k < p.width; k += blockDim.x) x[k] = static_cast<float>(x[k] - s.shift);
}

}  // namespace cuda
}  // namespace lsrt
