// Attention within groups (runtime/device/ops_grouped.h).
#include "kernels/cuda/attend.h"

namespace lsrt {
namespace cuda {

LSRT_DEVICE uint32_t padded_dim(const Store& s) {
  return static_cast<uint32_t>(round_up(s.head_dim, kPanelDepth));
}

// Key and value of one row and head, a half warp.
LSRT_KERNEL(store_rows, StoreRowsParams, 128) {
  const Store& to = p.store;
  const uint32_t item = half_warp(), i = item / to.heads, head = item % to.heads, dim = to.head_dim;
  const uint32_t n = i < p.rows ? dim : 0, row = p.first + i;
  for (int which = 0; which < 2; ++which) {
    const float* x = (which == 0 ? p.key : p.value) + i * p.stride + head * dim;
    if (!to.key_scale) {
      float* out =
          static_cast<float*>(which == 0 ? to.keys : to.values) + (uint64_t{row} * to.heads + head) * dim;
      for (uint32_t e = half_lane(); e < n; e += kHalfWarp) out[e] = x[e];
      continue;
    }
    float largest = 0;
    for (uint32_t e = half_lane(); e < n; e += kHalfWarp) largest = max_of(fabsf(x[e]), largest);
    largest = largest_of<kHalfWarp>(largest);
    const float scale = symmetric_scale(largest);
    const uint64_t at = uint64_t{head} * to.rows + row;
    int8_t* out = static_cast<int8_t*>(which == 0 ? to.keys : to.values) + at * padded_dim(to);
    int32_t sum = 0;
    for (uint32_t e = half_lane(); n != 0 && e < padded_dim(to); e += kHalfWarp) {
      const int8_t q = e < n ? symmetric(x[e], largest, scale) : int8_t{0};
      out[e] = q;
      sum += q;
    }
    sum = sum_of<kHalfWarp>(sum);
    if (n == 0 || half_lane() != 0) continue;
    (which == 0 ? to.key_scale : to.value_scale)[at] = scale;
    if (which == 0) to.key_sum[at] = sum;
  }
}

struct GroupedShared {
  AttendShared attend;
  int32_t query_row[kAttendTile];
  uint32_t columns;
};

// A task: a head, a group and a tile of its queries. Columns of its scores: the global keys, the group's own
// without the masked ones, padding to a multiple of 16.
class GroupedTask {
 public:
  LSRT_DEVICE GroupedTask(const GroupedAttendParams& p, GroupedShared& s, unsigned char* memory,
                          uint64_t task)
      : p_(p),
        s_(s),
        key_row_(reinterpret_cast<int32_t*>(memory)),
        place_(key_row_ + grouped_columns(p)),
        scores_(reinterpret_cast<float*>(place_ + grouped_columns(p))) {
    const uint32_t tile = attend_tile(p.group_queries), tiles = ceil_div(p.group_queries, tile);
    first_ = static_cast<uint32_t>(task % tiles) * tile;
    group_ = static_cast<uint32_t>(task / tiles % p.groups);
    head_ = p.first_head + static_cast<uint32_t>(task / tiles / p.groups);
    count_ = smaller(tile, p.group_queries - first_);
  }

  LSRT_DEVICE void prepare(bool int8) {
    __syncthreads();  // the task before is over
    if (threadIdx.x < count_) {
      s_.query_row[threadIdx.x] = p_.query_rows[uint64_t{group_} * p_.group_queries + first_ + threadIdx.x];
    }
    for (uint32_t c = threadIdx.x; c < p_.globals; c += blockDim.x) {
      key_row_[c] = static_cast<int32_t>(p_.global_first + c), place_[c] = -1;
    }
    if (threadIdx.x < kWarp) list_keys();
    for (uint32_t i = threadIdx.x; int8 && i < kAttendTile * dim(); i += blockDim.x) {
      s_.attend.sum[i / dim()][i % dim()] = 0;
    }
    __syncthreads();
    columns_ = s_.columns;
    for (uint32_t i = threadIdx.x / kWarp; int8 && i < count_; i += blockDim.x / kWarp) {
      quantize_query([&](uint32_t e) { return s_.query_row[i] < 0 ? 0.0f : query(i)[e]; }, dim(),
                     s_.attend.query[0][i], &s_.attend.query_scale[0][i]);
    }
    __syncthreads();
  }

  LSRT_DEVICE void attend_int8();
  LSRT_DEVICE void attend_float();

 private:
  LSRT_DEVICE uint32_t dim() const { return p_.store.head_dim; }
  LSRT_DEVICE const float* query(uint32_t i) const {
    return p_.query + static_cast<uint64_t>(s_.query_row[i]) * p_.query_stride + head_ * dim();
  }
  LSRT_DEVICE float* out(uint32_t i) const {
    return p_.out + static_cast<uint64_t>(s_.query_row[i]) * p_.out_stride + head_ * dim();
  }
  LSRT_DEVICE float& score(uint32_t i, uint32_t column) { return scores_[uint64_t{i} * columns_ + column]; }
  // Where head and row of a column lie in the store; padding may be any.
  LSRT_DEVICE uint64_t stored(uint32_t column) const {
    return uint64_t{head_} * p_.store.rows +
           static_cast<uint32_t>(key_row_[column] < 0 ? 0 : key_row_[column]);
  }

  // A warp lists the keys that are not masked, in their order.
  LSRT_DEVICE void list_keys() {
    const uint32_t lane = threadIdx.x;
    uint32_t keys = p_.globals;
    for (uint32_t first = 0; first < p_.group_keys; first += kWarp) {
      const uint32_t k = first + lane;
      const int32_t row = k < p_.group_keys ? p_.key_rows[uint64_t{group_} * p_.group_keys + k] : -1;
      const uint32_t there = __ballot_sync(kAllLanes, row >= 0);
      if (row >= 0) {
        const uint32_t column = keys + static_cast<uint32_t>(__popc(there & ((1u << lane) - 1)));
        key_row_[column] = row, place_[column] = static_cast<int32_t>(k);
      }
      keys += static_cast<uint32_t>(__popc(there));
    }
    const auto columns = static_cast<uint32_t>(round_up(keys, kPanelOutputs));
    if (keys + lane < columns) key_row_[keys + lane] = -1, place_[keys + lane] = -1;
    if (lane == 0) s_.columns = columns;
  }

  LSRT_DEVICE float biased(float x, uint32_t i, uint32_t column) const {
    if (!p_.bias || place_[column] < 0) return x;
    const auto k = static_cast<uint32_t>(place_[column]);
    const uint32_t runs = ceil_div(p_.group_keys, p_.bias_run);
    const int32_t offset = p_.bias_offsets[uint64_t{first_ + i} * runs + k / p_.bias_run];
    return x + p_.bias[head_ * p_.bias_stride + static_cast<uint32_t>(offset) + k % p_.bias_run];
  }

  const GroupedAttendParams& p_;
  GroupedShared& s_;
  int32_t *key_row_, *place_;  // [columns]: of the store, in the group; -1: none
  float* scores_;              // [tile, columns]
  uint32_t first_, group_, head_, count_, columns_ = 0;
};

LSRT_DEVICE void GroupedTask::attend_int8() {
  AttendShared& s = s_.attend;
  const Store& store = p_.store;
  float largest[kAttendTile] = {kMaskedScore, kMaskedScore, kMaskedScore, kMaskedScore};
  for (uint32_t column = threadIdx.x; column < columns_; column += blockDim.x) {
    const uint64_t at = stored(column);
    const auto* key =
        reinterpret_cast<const int32_t*>(static_cast<const int8_t*>(store.keys) + at * padded_dim(store));
    int32_t sum[kAttendTile] = {};
    for (uint32_t word = 0; word < padded_dim(store) / 4; ++word) {
      const int32_t k = key[word];
#pragma unroll
      for (uint32_t i = 0; i < kAttendTile; ++i) {
        if (i < count_) sum[i] = __dp4a(k, static_cast<int32_t>(s.query[0][i][word]), sum[i]);
      }
    }
    const float scale = store.key_scale[at];
    const int32_t key_sum = store.key_sum[at];
#pragma unroll
    for (uint32_t i = 0; i < kAttendTile; ++i) {
      if (i >= count_) continue;
      float x = kMaskedScore;
      if (key_row_[column] >= 0)
        x = biased(dequantized(sum[i], key_sum, s.query_scale[0][i], scale, 0.0f), i, column);
      score(i, column) = x;
      largest[i] = max_of(x, largest[i]);
    }
  }
  block_largest(largest, s);
  float g_largest[kAttendTile] = {};
  for (uint32_t column = threadIdx.x; column < columns_; column += blockDim.x) {
    const float scale = store.value_scale[stored(column)];
#pragma unroll
    for (uint32_t i = 0; i < kAttendTile; ++i) {
      if (i >= count_) continue;
      float& x = score(i, column);
      x = exp_negative(x - s.largest[i]);
      g_largest[i] = max_of(x * scale, g_largest[i]);
    }
  }
  finish_softmax(
      count_, g_largest,
      [&](uint32_t query, const auto& f) {
        for (uint32_t column = half_lane(); column < columns_; column += kHalfWarp) {
          f(column, score(query, column), store.value_scale[stored(column)]);
        }
      },
      s);
  // Weights of four columns take the place of two of their scores.
  for (uint32_t item = threadIdx.x; item < columns_ / 4 * count_; item += blockDim.x) {
    const uint32_t i = item / (columns_ / 4), quad = item % (columns_ / 4);
    float* x = &score(i, 0);
    uint32_t low, high;
    weigh_quad([&](uint32_t column) { return x[column] * store.value_scale[stored(column)]; }, s.factor[i],
               quad, &low, &high);
    x[4 * quad] = float_of_bits(low), x[4 * quad + 1] = float_of_bits(high);
  }
  __syncthreads();
  // Four elements at a time of four rows; few outputs: several threads share them.
  const uint32_t words = padded_dim(store) / 4, outputs = count_ * words;
  const uint32_t parts = blockDim.x > outputs ? blockDim.x / outputs : 1;
  for (uint32_t item = threadIdx.x; item < outputs * parts; item += blockDim.x) {
    const uint32_t i = item % outputs / words, word = item % words;
    const float* weights = &score(i, 0);
    const auto row_word = [&](uint32_t column) {
      const auto* value = static_cast<const int8_t*>(store.values) + stored(column) * padded_dim(store);
      return reinterpret_cast<const uint32_t*>(value)[word];
    };
    int32_t sum[4] = {};
    for (uint32_t quad = item / outputs; quad < columns_ / 4; quad += parts) {
      const uint32_t low = bits_of(weights[4 * quad]), high = bits_of(weights[4 * quad + 1]);
      const uint32_t a = row_word(4 * quad), b = row_word(4 * quad + 1), c = row_word(4 * quad + 2),
                     d = row_word(4 * quad + 3);
      const uint32_t ab = __byte_perm(a, b, 0x5140), cd = __byte_perm(c, d, 0x5140);
      const uint32_t ab2 = __byte_perm(a, b, 0x7362), cd2 = __byte_perm(c, d, 0x7362);
      sum[0] = weighted(low, high, static_cast<int32_t>(__byte_perm(ab, cd, 0x5410)), sum[0]);
      sum[1] = weighted(low, high, static_cast<int32_t>(__byte_perm(ab, cd, 0x7632)), sum[1]);
      sum[2] = weighted(low, high, static_cast<int32_t>(__byte_perm(ab2, cd2, 0x5410)), sum[2]);
      sum[3] = weighted(low, high, static_cast<int32_t>(__byte_perm(ab2, cd2, 0x7632)), sum[3]);
    }
#pragma unroll
    for (uint32_t j = 0; j < 4; ++j) {
      if (4 * word + j < dim()) atomicAdd(&s.sum[i][4 * word + j], sum[j]);
    }
  }
  __syncthreads();
  for (uint32_t item = threadIdx.x; item < count_ * dim(); item += blockDim.x) {
    const uint32_t i = item / dim(), e = item % dim();
    if (s_.query_row[i] >= 0) out(i)[e] = s.out_scale[i] * static_cast<float>(s.sum[i][e]);
  }
}

LSRT_DEVICE void GroupedTask::attend_float() {
  AttendShared& s = s_.attend;
  const uint64_t width = uint64_t{p_.store.heads} * dim();
  const auto row_of = [&](const void* rows, uint32_t column) {
    return static_cast<const float*>(rows) + static_cast<uint32_t>(key_row_[column]) * width + head_ * dim();
  };
  float largest[kAttendTile] = {kMaskedScore, kMaskedScore, kMaskedScore, kMaskedScore};
  for (uint32_t column = threadIdx.x; column < columns_; column += blockDim.x) {
    for (uint32_t i = 0; i < count_; ++i) {
      float x = kMaskedScore;
      if (key_row_[column] >= 0 && s_.query_row[i] >= 0) {
        x = biased(dot(query(i), row_of(p_.store.keys, column), dim()), i, column);
      }
      score(i, column) = x;
      largest[i] = max_of(x, largest[i]);
    }
  }
  block_largest(largest, s);
  for (uint32_t item = threadIdx.x; item < columns_ * count_; item += blockDim.x) {
    float& x = score(item / columns_, item % columns_);
    x = exp_negative(x - s.largest[item / columns_]);
  }
  __syncthreads();
  if (threadIdx.x < kWarp * ceil_div(count_, 2)) {
    const uint32_t query = threadIdx.x / kHalfWarp;
    const float sum = lane_sum(query < count_ ? columns_ : 0,
                               [&](uint32_t c, float total) { return total + score(query, c); });
    if (half_lane() == 0 && query < count_) s.factor[query] = 1.0f / sum;
  }
  __syncthreads();
  for (uint32_t item = threadIdx.x; item < count_ * dim(); item += blockDim.x) {
    const uint32_t i = item / dim(), e = item % dim();
    if (s_.query_row[i] < 0) continue;
    float sum = 0;
    for (uint32_t c = 0; c < columns_; ++c) {
      if (key_row_[c] >= 0) sum += score(i, c) * s.factor[i] * row_of(p_.store.values, c)[e];
    }
    out(i)[e] = sum;
  }
}

template <bool int8>
LSRT_DEVICE void grouped_attend(const GroupedAttendParams& p, GroupedShared& s, unsigned char* shared) {
  const uint32_t tile = attend_tile(p.group_queries);
  const uint64_t tasks = uint64_t{p.heads} * p.groups * ceil_div(p.group_queries, tile);
  const uint64_t bytes = grouped_columns(p) * (2 * sizeof(int32_t) + tile * sizeof(float));
  unsigned char* memory = p.scratch ? static_cast<unsigned char*>(p.scratch) + blockIdx.x * bytes : shared;
  for (uint64_t task = blockIdx.x; task < tasks; task += gridDim.x) {
    GroupedTask here(p, s, memory, task);
    here.prepare(int8);
    if (int8) {
      here.attend_int8();
    } else {
      here.attend_float();
    }
  }
}

LSRT_KERNEL(grouped_attend, GroupedAttendParams, 128) {
  LSRT_SHARED(GroupedShared, s);
  LSRT_DYNAMIC_SHARED(shared);
  grouped_attend<true>(p, s, shared);
}

LSRT_KERNEL(grouped_attend_float, GroupedAttendParams, 128) {
  LSRT_SHARED(GroupedShared, s);
  LSRT_DYNAMIC_SHARED(shared);
  grouped_attend<false>(p, s, shared);
}

}  // namespace cuda
}  // namespace lsrt
