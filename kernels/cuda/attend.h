// What causal and grouped attention have in common: the softmax over a tile's rows of scores in shared (or,
// where they are too long, device) memory, and its weights as 14-bit integers (kernels/rows/rows.h).
#pragma once

#include "kernels/cuda/row_math.h"

namespace lsrt {
namespace cuda {

constexpr uint32_t kMaxAttendHeadDim = 512;
constexpr uint32_t kMaxAttendWarps = 8;

struct AttendShared {
  alignas(16) uint32_t query[3][kAttendTile][kMaxAttendHeadDim / 4];  // int8, zero behind the head
  RowScale query_scale[3][kAttendTile];
  int32_t sum[kAttendTile][kMaxAttendHeadDim];
  float warp_largest[kMaxAttendWarps][kAttendTile];
  float largest[kAttendTile], factor[kAttendTile], out_scale[kAttendTile];
};

// A warp quantizes a query of n numbers.
template <typename Row>
LSRT_DEVICE void quantize_query(const Row& x, uint32_t n, uint32_t* q, RowScale* row_scale) {
  const uint32_t lane = threadIdx.x % kWarp;
  float lo = 0, hi = 0;
  for (uint32_t i = lane; i < n; i += kWarp) {
    const float v = x(i);
    lo = v < lo ? v : lo, hi = v > hi ? v : hi;
  }
  hi = largest_of<kWarp>(hi), lo = -largest_of<kWarp>(-lo);
  const RowScale scale = row_scale_of(lo, hi);
  const float inverse = 1.0f / scale.scale;
  for (uint32_t word = lane; word < ceil_div(n, 4); word += kWarp) {
    q[word] = quantized_word(x, word, n, inverse, scale.zero_point);
  }
  if (lane == 0) *row_scale = scale;
}

// The largest of all threads' numbers of each query, none NaN, into s.largest. All threads of a block come.
LSRT_DEVICE void block_largest(const float (&x)[kAttendTile], AttendShared& s) {
#pragma unroll
  for (uint32_t i = 0; i < kAttendTile; ++i) {
    const float largest = largest_of<kWarp>(x[i]);
    if (threadIdx.x % kWarp == 0) s.warp_largest[threadIdx.x / kWarp][i] = largest;
  }
  __syncthreads();
  if (threadIdx.x < kAttendTile) {
    float largest = kMaskedScore;
    for (uint32_t warp = 0; warp < blockDim.x / kWarp; ++warp) {
      largest = max_of(s.warp_largest[warp][threadIdx.x], largest);
    }
    s.largest[threadIdx.x] = largest;
  }
  __syncthreads();
}

// Weights 4 quad .. of one query, g(c) = e * value scale: the low and the high 7 bits of each.
template <typename Terms>
LSRT_DEVICE void weigh_quad(const Terms& g, float factor, uint32_t quad, uint32_t* low, uint32_t* high) {
  *low = *high = 0;
#pragma unroll
  for (uint32_t j = 0; j < 4; ++j) {
    const float w =
        rintf(min_of(max_of(g(4 * quad + j) * factor, 0.0f), static_cast<float>(kSoftmaxWeightMax)));
    const auto weight = static_cast<uint32_t>(w);
    *low |= (weight & 127) << 8 * j;
    *high |= (weight >> 7) << 8 * j;
  }
}
// sum += weights . four values
LSRT_DEVICE int32_t weighted(uint32_t low, uint32_t high, int32_t values, int32_t sum) {
  return __dp4a(values, static_cast<int32_t>(low), sum) + 128 * __dp4a(values, static_cast<int32_t>(high), 0);
}

// The softmax of rows of scores in int8 layers: what becomes of s.largest and the scores, which `each` reads.
//   each(query, f)  calls f(column, score, value scale) in ascending order for this half warp's lane's
//   columns
template <typename Each>
LSRT_DEVICE void finish_softmax(uint32_t count, const float (&g_largest)[kAttendTile], const Each& each,
                                AttendShared& s) {
  block_largest(g_largest, s);
  const uint32_t query = threadIdx.x / kHalfWarp;
  if (threadIdx.x < kWarp * ceil_div(count, 2)) {  // whole warps
    float e_sum = 0, g_sum = 0;
    if (query < count) {
      each(query, [&](uint32_t, float e, float value_scale) {
        e_sum += e;
        g_sum += e * value_scale;
      });
    }
    e_sum = fold(e_sum), g_sum = fold(g_sum);
    if (half_lane() == 0 && query < count) {
      const float g_max = s.largest[query];
      const float f =
          g_max > 0 ? min_of(kSoftmaxSumMax / g_sum, static_cast<float>(kSoftmaxWeightMax) / g_max) : 0.0f;
      s.factor[query] = f;
      s.out_scale[query] = f > 0 ? 1.0f / (f * e_sum) : 0.0f;
    }
  }
  __syncthreads();
}

}  // namespace cuda
}  // namespace lsrt
