// What causal attention keeps: rows of windows and memories, summaries of chunks, exchanged states
// (runtime/device/ops_causal.h).
#include "kernels/cuda/causal_rows.h"

namespace lsrt {
namespace cuda {

// A block a row.
LSRT_KERNEL(causal_store, CausalStoreParams, 128) {
  LSRT_SHARED(RowShared, s);
  const uint64_t position = p.position ? *p.position : 0;
  const uint32_t i = blockIdx.x, width = p.heads * p.head_dim;
  const float* key = p.key + i * p.stride;
  if (p.cache.keys) {
    const auto row = static_cast<uint32_t>((position / p.divide * p.times + i) % p.cache.capacity);
    store_row(p.cache, p.norm, p.heads, p.head_dim, key, p.value ? p.value + i * p.stride : nullptr, row, s);
  }
  if (!p.pending_x) return;
  const auto unfinished = static_cast<uint32_t>(position % p.chunk);
  const uint32_t at = unfinished + i, keep_from = (unfinished + p.rows) / p.chunk * p.chunk;
  if (at < keep_from) return;
  const uint32_t kv_width = 2 * width + p.heads * p.rank;
  float* x = p.pending_x + uint64_t{at - keep_from} * width;
  float* kv = p.pending_kv + uint64_t{at - keep_from} * kv_width;
  for (uint32_t e = threadIdx.x; e < width; e += blockDim.x) x[e] = p.x[uint64_t{i} * width + e];
  for (uint32_t e = threadIdx.x; e < kv_width; e += blockDim.x) kv[e] = key[e];
}

// A block a summary.
LSRT_KERNEL(causal_compress, CausalCompressParams, 128) {
  LSRT_SHARED(RowShared, s);
  const CausalExtents& x = p.extents;
  const uint64_t position = *p.position;
  const uint32_t width = x.heads * x.head_dim, kv_width = 2 * width + x.heads * x.rank;
  const uint32_t chunk = blockIdx.x / x.rank, j = blockIdx.x % x.rank;
  const auto unfinished = static_cast<uint32_t>(position % x.chunk);
  // Rows from the start of the chunk that was unfinished before the step: those kept, then the step's.
  const auto kv_row = [&](uint32_t t) {
    const uint32_t at = chunk * x.chunk + t;
    return at < unfinished ? p.pending_kv + uint64_t{at} * kv_width
                           : p.qkv + uint64_t{at - unfinished} * (width + kv_width) + width;
  };
  const auto x_row = [&](uint32_t t) {
    const uint32_t at = chunk * x.chunk + t;
    return at < unfinished ? p.pending_x + uint64_t{at} * width : p.x + uint64_t{at - unfinished} * width;
  };

  float* weight = p.scratch + blockIdx.x * compress_scratch_floats(x);  // [heads, chunk]
  float* key = weight + uint64_t{x.heads} * x.chunk;                    // and the value behind it
  for (uint32_t head = threadIdx.x; head < x.heads; head += blockDim.x) {
    float* e = weight + uint64_t{head} * x.chunk;
    const uint32_t column = 2 * width + head * x.rank + j;
    float largest = kMaskedScore;
    for (uint32_t t = 0; t < x.chunk; ++t) largest = max_of(kv_row(t)[column], largest);
    const float inverse = 1.0f / thread_sum(x.chunk, [&](uint32_t t, float sum) {
                            e[t] = exp_negative(kv_row(t)[column] - largest);
                            return sum + e[t];
                          });
    for (uint32_t t = 0; t < x.chunk; ++t) e[t] *= inverse;
  }
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < width; i += blockDim.x) {
    const float* e = weight + uint64_t{i / x.head_dim} * x.chunk;
    float input_sum = 0, key_sum = 0, value_sum = 0;
    for (uint32_t t = 0; t < x.chunk; ++t) {
      const float* kv = kv_row(t);
      input_sum += e[t] * x_row(t)[i];
      key_sum += e[t] * kv[i];
      value_sum += e[t] * kv[width + i];
    }
    p.compressed[uint64_t{blockIdx.x} * width + i] = input_sum;
    key[i] = key_sum, key[width + i] = value_sum;
  }
  __syncthreads();
  const auto row = static_cast<uint32_t>(
      (position / x.chunk + chunk - position / x.block * (x.block / x.chunk)) * x.rank + j);
  store_row(p.block, p.norm, x.heads, x.head_dim, key, key + width, row, s);
}

// One element of one row an item.
LSRT_KERNEL(causal_exchange, CausalExchangeParams, 256) {
  const Cache& c = p.cache;
  for (uint64_t item = first_item(); item < uint64_t{p.count} * p.heads * p.head_dim; item += all_threads()) {
    const auto e = static_cast<uint32_t>(item % p.head_dim),
               head = static_cast<uint32_t>(item / p.head_dim % p.heads);
    const uint64_t i = item / p.head_dim / p.heads;
    const auto row = static_cast<uint32_t>((p.first + i) % c.capacity);
    if (!c.key_scale) {
      const uint64_t at = float_at(c, head, row, p.head_dim) + e;
      float *key = static_cast<float*>(c.keys) + at, *value = static_cast<float*>(c.values) + at;
      float *key_out = static_cast<float*>(p.keys) + item, *value_out = static_cast<float*>(p.values) + item;
      if (p.into_cache) {
        *key = *key_out, *value = *value_out;
      } else {
        *key_out = *key, *value_out = *value;
      }
      continue;
    }
    int8_t *key = key_at(c, head, row, p.head_dim, e), *value = value_at(c, head, row, p.head_dim, e);
    int8_t *key_out = static_cast<int8_t*>(p.keys) + item, *value_out = static_cast<int8_t*>(p.values) + item;
    if (p.into_cache) {
      *key = *key_out, *value = *value_out;
    } else {
      *key_out = *key, *value_out = *value;
    }
    if (e != 0) continue;
    const uint64_t at = uint64_t{head} * c.capacity + row, scale = i * p.heads + head;
    if (!p.into_cache) {
      p.key_scales[scale] = c.key_scale[at], p.value_scales[scale] = c.value_scale[at];
      continue;
    }
    c.key_scale[at] = p.key_scales[scale], c.value_scale[at] = p.value_scales[scale];
    int32_t sum = 0;
    for (uint32_t k = 0; k < p.head_dim; ++k) sum += key_out[k];
    c.key_sum[at] = sum;
  }
}

}  // namespace cuda
}  // namespace lsrt
