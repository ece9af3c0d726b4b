// Rows of the caches of causal attention.
#pragma once

#include "kernels/attn/attn.h"
#include "kernels/cuda/row_math.h"

namespace lsrt {
namespace cuda {

LSRT_DEVICE uint64_t key_bytes(const Cache& c, uint32_t head_dim) {  // of a head
  return c.capacity / kPanelOutputs * panel_bytes(head_dim);
}
LSRT_DEVICE uint64_t value_bytes(const Cache& c, uint32_t head_dim) {
  return c.capacity / kPanelDepth * value_group_bytes(head_dim);
}
LSRT_DEVICE int8_t* key_at(const Cache& c, uint32_t head, uint32_t row, uint32_t head_dim, uint32_t e) {
  return static_cast<int8_t*>(c.keys) + head * key_bytes(c, head_dim) + panel_offset(row, e, head_dim);
}
LSRT_DEVICE int8_t* value_at(const Cache& c, uint32_t head, uint32_t row, uint32_t head_dim, uint32_t e) {
  return static_cast<int8_t*>(c.values) + head * value_bytes(c, head_dim) +
         row / kPanelDepth * value_group_bytes(head_dim) + e * kPanelDepth + row % kPanelDepth;
}
LSRT_DEVICE uint64_t float_at(const Cache& c, uint32_t head, uint32_t row, uint32_t head_dim) {
  return (uint64_t{head} * c.capacity + row) * head_dim;
}

struct RowShared {
  Measured key, value;
};

// Stores one row of keys and values (which may be null) after their norm. All threads of a block come.
LSRT_DEVICE void store_row(const Cache& c, const Norm& norm, uint32_t heads, uint32_t head_dim,
                           const float* key, const float* value, uint32_t row, RowShared& s) {
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (warp == 0) {  // a half warp measures the key, the other one the value
    const float* x = lane < kHalfWarp ? key : value;
    const Measured measured = measure(norm, x ? heads * head_dim : 0, [&](uint32_t i) { return x[i]; });
    if (lane == 0) s.key = measured;
    if (lane == kHalfWarp) s.value = measured;
  }
  __syncthreads();
  for (uint32_t item = warp; item < heads * (value ? 2 : 1);
       item += blockDim.x / kWarp) {  // a head of one of them
    const bool is_key = item < heads;
    const uint32_t head = is_key ? item : item - heads, first = head * head_dim;
    const float* x = (is_key ? key : value) + first;
    const Measured measured = is_key ? s.key : s.value;
    const auto element = [&](uint32_t e) { return normed(norm, measured, first + e, x[e]); };
    if (!c.key_scale) {
      float* to = static_cast<float*>(is_key ? c.keys : c.values) + float_at(c, head, row, head_dim);
      for (uint32_t e = lane; e < head_dim; e += kWarp) to[e] = element(e);
      continue;
    }
    float largest = 0;
    for (uint32_t e = lane; e < head_dim; e += kWarp) largest = max_of(fabsf(element(e)), largest);
    largest = largest_of<kWarp>(largest);
    const float scale = symmetric_scale(largest);
    int32_t sum = 0;
    for (uint32_t e = lane; e < head_dim; e += kWarp) {
      const int8_t q = symmetric(element(e), largest, scale);
      sum += q;
      *(is_key ? key_at(c, head, row, head_dim, e) : value_at(c, head, row, head_dim, e)) = q;
    }
    sum = sum_of<kWarp>(sum);
    if (lane != 0) continue;
    const uint64_t at = uint64_t{head} * c.capacity + row;
    if (is_key) {
      c.key_scale[at] = scale, c.key_sum[at] = sum;
    } else {
      c.value_scale[at] = scale;
    }
  }
}

}  // namespace cuda
}  // namespace lsrt
