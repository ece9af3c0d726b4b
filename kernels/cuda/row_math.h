// The operations of kernels/rows/scalar.cc and kernels/gemm/scalar.cc on one number or row: the same ones in
// the same order, so that the bits are the same. -fmad=false: nothing is fused but where fmaf is written.
#pragma once

#include <float.h>

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/rows/rows.h"
#include "kernels/rows/rows_math.h"

namespace lsrt {
namespace cuda {

constexpr uint32_t kAllLanes = 0xffffffffu;

LSRT_DEVICE float max_of(float a, float b) { return a > b ? a : b; }  // a NaN in a gives b
LSRT_DEVICE float min_of(float a, float b) { return a < b ? a : b; }

LSRT_DEVICE float float_of_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}
LSRT_DEVICE uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

// First item of this thread, and how many threads there are.
LSRT_DEVICE uint64_t first_item() { return uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
LSRT_DEVICE uint64_t all_threads() { return uint64_t{gridDim.x} * blockDim.x; }
LSRT_DEVICE uint32_t half_lane() { return threadIdx.x % kHalfWarp; }
LSRT_DEVICE uint32_t half_warp() { return static_cast<uint32_t>(first_item() / kHalfWarp); }  // of the grid

// Every lane of a half warp gets what the fold of its 16 lanes gives (addition commutes).
LSRT_DEVICE float fold(float lane) {
#pragma unroll
  for (int half = 8; half > 0; half /= 2) lane += __shfl_xor_sync(kAllLanes, lane, half);
  return lane;
}
LSRT_DEVICE float fold(float (&lane)[kHalfWarp]) {
#pragma unroll
  for (int j = 0; j < 8; ++j) lane[j] += lane[j + 8];
#pragma unroll
  for (int j = 0; j < 4; ++j) lane[j] += lane[j + 4];
  lane[0] += lane[2], lane[1] += lane[3];
  return lane[0] + lane[1];
}

// A half warp's sum over i < n in the lanes of rows.h: sum = add(i, sum). Both halves of a warp must come.
template <typename Add>
LSRT_DEVICE float lane_sum(uint32_t n, const Add& add) {
  float sum = 0;
  for (uint32_t i = half_lane(); i < n; i += kHalfWarp) sum = add(i, sum);
  return fold(sum);
}
// The same by one thread.
template <typename Add>
LSRT_DEVICE float thread_sum(uint32_t n, const Add& add) {
  float lane[kHalfWarp] = {};
  for (uint32_t i = 0; i < n; i += kHalfWarp) {
#pragma unroll
    for (uint32_t j = 0; j < kHalfWarp; ++j) {
      if (i + j < n) lane[j] = add(i + j, lane[j]);
    }
  }
  return fold(lane);
}
LSRT_DEVICE float dot(const float* x, const float* y, uint32_t n) {
  return thread_sum(n, [&](uint32_t i, float sum) { return sum + x[i] * y[i]; });
}

// The largest of `width` neighbouring lanes' numbers, which are not NaN.
template <uint32_t width>
LSRT_DEVICE float largest_of(float x) {
#pragma unroll
  for (uint32_t bits = width / 2; bits > 0; bits /= 2) x = max_of(__shfl_xor_sync(kAllLanes, x, bits), x);
  return x;
}
template <uint32_t width>
LSRT_DEVICE int32_t sum_of(int32_t x) {
#pragma unroll
  for (uint32_t bits = width / 2; bits > 0; bits /= 2) x += __shfl_xor_sync(kAllLanes, x, bits);
  return x;
}

// exp(x) = result * 2^n; n is in the low bits of *shifted.
LSRT_DEVICE float exp_reduced(float x, float* shifted) {
  *shifted = fmaf(x, kLog2E, kRoundMagic);
  const float n = *shifted - kRoundMagic;
  float r = fmaf(n, -kLn2High, x);
  r = fmaf(n, -kLn2Low, r);
  const float r2 = r * r;
  const float low = fmaf(kExp2, r, kExp1);
  const float high = fmaf(kExp5, r2, fmaf(kExp4, r, kExp3));
  return fmaf(fmaf(high, r2, low), r, 1.0f);
}
LSRT_DEVICE float exp_negative(float x) {
  if (!(x >= kExpMin)) return 0.0f;
  float shifted;
  const float p = exp_reduced(x, &shifted);
  return p * float_of_bits((bits_of(shifted) + 127) << 23);
}

template <int k>
constexpr float kErfOf = kErf[k];  // device code has no arrays of the host

LSRT_DEVICE float gelu(float x) {
  static_assert(kErfDegree == 13, "the steps below");
  const float u = min_of(fmaf(x * x, kErfSquare, -1.0f), 1.0f);
  const float u2 = u * u;
  float even = kErfOf<12>, odd = kErfOf<13>;
  even = fmaf(even, u2, kErfOf<10>), odd = fmaf(odd, u2, kErfOf<11>);
  even = fmaf(even, u2, kErfOf<8>), odd = fmaf(odd, u2, kErfOf<9>);
  even = fmaf(even, u2, kErfOf<6>), odd = fmaf(odd, u2, kErfOf<7>);
  even = fmaf(even, u2, kErfOf<4>), odd = fmaf(odd, u2, kErfOf<5>);
  even = fmaf(even, u2, kErfOf<2>), odd = fmaf(odd, u2, kErfOf<3>);
  even = fmaf(even, u2, kErfOf<0>), odd = fmaf(odd, u2, kErfOf<1>);
  const float p = fmaf(odd, u, even);
  const float erf = min_of(max_of(x * p, -1.0f), 1.0f);
  const float half = 0.5f * x;
  return fmaf(half, erf, half);
}

LSRT_DEVICE float activate(Activate activation, float x) {
  if (activation == Activate::kGelu) return gelu(x);
  if (activation == Activate::kRelu) return max_of(x, 0.0f);
  return x;
}
// One choice for n numbers.
template <int n>
LSRT_DEVICE void activate_all(Activate activation, float (&x)[n]) {
  if (activation == Activate::kNone) return;
#pragma unroll
  for (int i = 0; i < n; ++i) x[i] = activation == Activate::kGelu ? gelu(x[i]) : max_of(x[i], 0.0f);
}

// ---- norms ------------------------------------------------------------------------------------------------------------

struct Measured {
  float mean, scale;
};

// A half warp's row of n numbers x(i). Both halves of a warp must come.
template <typename Row>
LSRT_DEVICE Measured measure(const Norm& norm, uint32_t n, const Row& x) {
  if (norm.eps == 0) return {0, 1};
  float mean = 0;
  if (!norm.rms)
    mean = lane_sum(n, [&](uint32_t i, float sum) { return sum + x(i); }) / static_cast<float>(n);
  const float square = lane_sum(n, [&](uint32_t i, float sum) {
    const float v = norm.rms ? x(i) : x(i) - mean;
    return fmaf(v, v, sum);
  });
  return {mean, 1.0f / sqrtf(square / static_cast<float>(n) + norm.eps)};
}
LSRT_DEVICE float normed(const Norm& norm, const Measured& measured, uint32_t i, float x) {
  if (norm.eps == 0) return x;
  if (!norm.rms) return fmaf((x - measured.mean) * measured.scale, norm.gamma[i], norm.beta[i]);
  const float v = x * measured.scale;
  return norm.gamma ? v * norm.gamma[i] : v;
}

// ---- int8 -------------------------------------------------------------------------------------------------------------

LSRT_DEVICE bool is_normal(float scale) { return scale >= FLT_MIN && scale <= FLT_MAX; }
LSRT_DEVICE float clamp(float v, float lo, float hi) {  // NaN becomes lo
  v = v > lo ? v : lo;
  return v < hi ? v : hi;
}

// Of a row whose numbers and 0 are in lo .. hi.
LSRT_DEVICE RowScale row_scale_of(float lo, float hi) {
  float scale = (hi - lo) / 255.0f;
  if (!is_normal(scale)) scale = 1.0f;
  return {scale, static_cast<int32_t>(rintf(clamp(-128.0f - lo / scale, -128.0f, 127.0f)))};
}
LSRT_DEVICE int32_t quantized(float x, float inverse, int32_t zero_point) {
  const float v =
      clamp(x * inverse, static_cast<float>(-128 - zero_point), static_cast<float>(127 - zero_point));
  return static_cast<int32_t>(rintf(v)) + zero_point;
}
// Elements 4 word .. of a row of n, zero from n on.
template <typename Row>
LSRT_DEVICE uint32_t quantized_word(const Row& x, uint32_t word, uint32_t n, float inverse,
                                    int32_t zero_point) {
  uint32_t bytes = 0;
#pragma unroll
  for (uint32_t j = 0; j < 4; ++j) {
    const uint32_t i = 4 * word + j;
    if (i < n) bytes |= (static_cast<uint32_t>(quantized(x(i), inverse, zero_point)) & 0xff) << 8 * j;
  }
  return bytes;
}

// An int32 sum of q * w as the output that it stands for.
LSRT_DEVICE float dequantized(int32_t sum, int32_t weight_sum, const RowScale& row, float scale, float bias) {
  return static_cast<float>(sum - row.zero_point * weight_sum) * (row.scale * scale) + bias;
}

// Symmetric, with m = max |x|: the scale, 0 where it is not a normal number.
LSRT_DEVICE float symmetric_scale(float m) {
  const float scale = m / 127.0f;
  return is_normal(scale) ? scale : 0.0f;
}
LSRT_DEVICE int8_t symmetric(float x, float m, float scale) {
  if (scale == 0) return 0;
  return static_cast<int8_t>(rintf(min_of(max_of(x * (127.0f / m), -127.0f), 127.0f)));
}

}  // namespace cuda
}  // namespace lsrt
