// Causal long-short attention: one softmax over summaries and window (runtime/device/ops_causal.h). A block
// takes one head and a tile of queries. Columns of its scores are keys, run after run; a run starts and ends
// at multiples of 16 of a ring, so that key t is on lane t % 16 as on the CPU, and masked columns add nothing
// to sums.
#include "kernels/cuda/causal_runs.h"

namespace lsrt {
namespace cuda {

// A task: head and tile of queries.
class CausalTask {
 public:
  LSRT_DEVICE CausalTask(const CausalAttendParams& p, CausalShared& s, float* scores, uint32_t tile,
                         uint64_t task)
      : p_(p), s_(s), scores_(scores) {
    const uint32_t tiles = ceil_div(p.rows, tile);
    head_ = static_cast<uint32_t>(task / tiles);
    first_ = static_cast<uint32_t>(task % tiles) * tile;
    count_ = smaller(tile, p.rows - first_);
    position_ = static_cast<int64_t>(*p.position);
  }

  LSRT_DEVICE void prepare(bool int8) {
    // Behind its last barrier the task before reads no more than sums, each by the thread that clears it
    // here.
    if (threadIdx.x == 0) list_runs();
    for (uint32_t i = threadIdx.x; int8 && i < kAttendTile * dim(); i += blockDim.x) {
      s_.attend.sum[i / dim()][i % dim()] = 0;
    }
    // As they are, with the content bias, with the position bias.
    for (uint32_t item = threadIdx.x / kWarp; int8 && item < 3 * count_; item += blockDim.x / kWarp) {
      const uint32_t kind = item / count_, i = item % count_;
      quantize_query([&](uint32_t e) { return query_at(kind, i, e); }, dim(), s_.attend.query[kind][i],
                     &s_.attend.query_scale[kind][i]);
    }
    __syncthreads();
    columns_ = s_.columns;
  }

  LSRT_DEVICE void attend_int8();
  LSRT_DEVICE void attend_float();

 private:
  // Keys that query i sees: begin .. end - 1; its row of the table of positions is the key's index + shift.
  struct Seen {
    int64_t begin, end, shift;
  };

  LSRT_DEVICE uint32_t dim() const { return p_.extents.head_dim; }
  LSRT_DEVICE uint32_t memory_summaries() const {
    return p_.extents.memory / p_.extents.chunk * p_.extents.rank;
  }
  LSRT_DEVICE int64_t block_chunk() const {
    return position_ / p_.extents.block * (p_.extents.block / p_.extents.chunk);
  }
  LSRT_DEVICE Seen seen(bool window, uint32_t i) const {
    const int64_t at = position_ + first_ + i;
    if (window) return {at + 1 - p_.extents.window, at + 1, p_.extents.window - (at + 1)};
    const int64_t end = memory_summaries() + (at / p_.extents.chunk - block_chunk()) * p_.extents.rank;
    return {0, end, p_.chunk_positions.rows - end};
  }
  LSRT_DEVICE float query_at(uint32_t kind, uint32_t i, uint32_t e) const {
    const uint32_t width = p_.extents.heads * dim(), column = head_ * dim() + e;
    const float x = p_.qkv[uint64_t{first_ + i} * (3 * width + p_.extents.heads * p_.extents.rank) + column];
    if (kind == 0 || !p_.content_bias) return x;
    return x + (kind == 1 ? p_.content_bias : p_.position_bias)[column];
  }
  LSRT_DEVICE float& score(uint32_t i, uint32_t column) { return scores_[uint64_t{i} * columns_ + column]; }
  LSRT_DEVICE float* out(uint32_t i) const {
    return p_.y + uint64_t{first_ + i} * p_.extents.heads * dim() + head_ * dim();
  }

  LSRT_DEVICE void list_runs() {
    RunList list(s_);
    const CausalExtents& x = p_.extents;
    const int64_t last = position_ + first_ + count_ - 1;
    if (x.rank) {
      const int64_t stored = memory_summaries(), memory_end = block_chunk() * x.rank;
      const int64_t memory_begin = memory_end > stored ? memory_end - stored : 0;
      const int64_t zeros = stored - (memory_end - memory_begin);
      list.repeated(p_.zero_summary, false, 0, zeros);
      list.ring(p_.memory, false, zeros, stored, memory_begin - zeros);
      list.ring(p_.block, false, stored, stored + (last / x.chunk - block_chunk()) * x.rank, -stored);
    }
    if (x.window) {
      const int64_t begin = position_ + first_ - x.window + 1;
      list.repeated(p_.zero_window, true, begin, 0);
      list.ring(p_.window, true, begin > 0 ? begin : 0, last + 1, 0);
    }
  }

  // Int8: products of all queries with one key, and of one query with a row of positions.
  LSRT_DEVICE void key_products(const KeyRun& run, uint32_t row, int32_t (&sum)[kAttendTile]) const {
    const int8_t* key = key_at(run.cache, head_, row, dim(), 0);
    const uint32_t kind = run.window ? 1 : 0;
#pragma unroll
    for (uint32_t i = 0; i < kAttendTile; ++i) sum[i] = 0;
    for (uint32_t word = 0; word < ceil_div(dim(), 4); ++word) {
      const int32_t k = *reinterpret_cast<const int32_t*>(key + word * kPanelGroupBytes);
#pragma unroll
      for (uint32_t i = 0; i < kAttendTile; ++i) {
        if (i < count_) sum[i] = __dp4a(k, static_cast<int32_t>(s_.attend.query[kind][i][word]), sum[i]);
      }
    }
  }
  LSRT_DEVICE float position_score(bool window, uint32_t i, uint32_t row) const {
    const Positions& table = window ? p_.window_positions : p_.chunk_positions;
    const uint32_t panels = ceil_div(table.rows, kPanelOutputs), kind = window ? 2 : 0;
    const uint64_t at = uint64_t{head_} * panels * kPanelOutputs + row;
    const int8_t* key = static_cast<const int8_t*>(table.data) + head_ * panels * panel_bytes(dim()) +
                        panel_offset(row, 0, dim());
    int32_t sum = 0;
    for (uint32_t word = 0; word < ceil_div(dim(), 4); ++word) {
      const int32_t k = *reinterpret_cast<const int32_t*>(key + word * kPanelGroupBytes);
      sum = __dp4a(k, static_cast<int32_t>(s_.attend.query[kind][i][word]), sum);
    }
    return dequantized(sum, table.sums[at], s_.attend.query_scale[kind][i], table.scales[at], 0.0f);
  }
  LSRT_DEVICE float value_scale(const KeyRun& run, uint32_t column) const {
    return run.cache
        .value_scale[uint64_t{head_} * run.cache.capacity + run.row + (run.repeated ? 0 : column)];
  }

  const CausalAttendParams& p_;
  CausalShared& s_;
  float* scores_;  // [tile, columns]
  uint32_t head_, first_, count_, columns_ = 0;
  int64_t position_;
};

LSRT_DEVICE void CausalTask::attend_int8() {
  AttendShared& s = s_.attend;
  float largest[kAttendTile] = {kMaskedScore, kMaskedScore, kMaskedScore, kMaskedScore};
  for (uint32_t n = 0; n < s_.count; ++n) {
    const KeyRun& run = s_.runs[n];
    for (uint32_t column = threadIdx.x; column < run.columns; column += blockDim.x) {
      const int64_t key = run.first + column;
      const uint32_t row = run.row + (run.repeated ? 0 : column);
      const uint64_t at = uint64_t{head_} * run.cache.capacity + row;
      int32_t sum[kAttendTile];
      key_products(run, row, sum);
      const float scale = run.cache.key_scale[at];
      const int32_t key_sum = run.cache.key_sum[at];
#pragma unroll
      for (uint32_t i = 0; i < kAttendTile; ++i) {
        if (i >= count_) continue;
        const Seen visible = seen(run.window, i);
        float x = kMaskedScore;
        if (key >= run.begin && key < run.end && key >= visible.begin && key < visible.end) {
          x = dequantized(sum[i], key_sum, s.query_scale[run.window ? 1 : 0][i], scale, 0.0f);
          x += position_score(run.window, i, static_cast<uint32_t>(key + visible.shift));
        }
        score(i, run.column + column) = x;
        largest[i] = max_of(x, largest[i]);
      }
    }
  }
  block_largest(largest, s);

  float g_largest[kAttendTile] = {};
  for (uint32_t n = 0; n < s_.count; ++n) {
    const KeyRun& run = s_.runs[n];
    for (uint32_t column = threadIdx.x; column < run.columns; column += blockDim.x) {
      const float scale = value_scale(run, column);
#pragma unroll
      for (uint32_t i = 0; i < kAttendTile; ++i) {
        if (i >= count_) continue;
        float& x = score(i, run.column + column);
        x = exp_negative(x - s.largest[i]);
        g_largest[i] = max_of(x * scale, g_largest[i]);
      }
    }
  }
  finish_softmax(
      count_, g_largest,
      [&](uint32_t query, const auto& f) {
        for (uint32_t n = 0; n < s_.count; ++n) {
          const KeyRun& run = s_.runs[n];
          for (uint32_t column = half_lane(); column < run.columns; column += kHalfWarp) {
            f(column, score(query, run.column + column), value_scale(run, column));
          }
        }
      },
      s);

  // Weights of four columns take the place of two of their scores.
  for (uint32_t n = 0; n < s_.count; ++n) {
    const KeyRun& run = s_.runs[n];
    for (uint32_t item = threadIdx.x; item < run.columns / 4 * count_; item += blockDim.x) {
      const uint32_t i = item / (run.columns / 4), quad = item % (run.columns / 4);
      float* x = &score(i, run.column);
      uint32_t low, high;
      weigh_quad([&](uint32_t column) { return x[column] * value_scale(run, column); }, s.factor[i], quad,
                 &low, &high);
      x[4 * quad] = float_of_bits(low), x[4 * quad + 1] = float_of_bits(high);
    }
  }
  __syncthreads();
  // Few outputs: several threads share one.
  const uint32_t outputs = count_ * dim(), parts = blockDim.x > outputs ? blockDim.x / outputs : 1;
  for (uint32_t item = threadIdx.x; item < outputs * parts; item += blockDim.x) {
    const uint32_t i = item % outputs / dim(), e = item % dim();
    int32_t sum = 0;
    for (uint32_t n = 0; n < s_.count; ++n) {
      const KeyRun& run = s_.runs[n];
      const float* weights = &score(i, run.column);
      const int8_t* value = value_at(run.cache, head_, run.row, dim(), e);
      for (uint32_t quad = item / outputs; quad < run.columns / 4; quad += parts) {
        int32_t values;
        if (run.repeated) {
          values = static_cast<int32_t>(static_cast<uint8_t>(*value) * 0x01010101u);
        } else {
          values = *reinterpret_cast<const int32_t*>(value + quad * value_group_bytes(dim()));
        }
        sum = weighted(bits_of(weights[4 * quad]), bits_of(weights[4 * quad + 1]), values, sum);
      }
    }
    atomicAdd(&s.sum[i][e], sum);
  }
  __syncthreads();
  for (uint32_t item = threadIdx.x; item < outputs; item += blockDim.x) {
    const uint32_t i = item / dim(), e = item % dim();
    out(i)[e] = s.out_scale[i] * static_cast<float>(s.sum[i][e]);
  }
}

LSRT_DEVICE void CausalTask::attend_float() {
  AttendShared& s = s_.attend;
  float largest[kAttendTile] = {kMaskedScore, kMaskedScore, kMaskedScore, kMaskedScore};
  for (uint32_t n = 0; n < s_.count; ++n) {
    const KeyRun& run = s_.runs[n];
    const Positions& table = run.window ? p_.window_positions : p_.chunk_positions;
    for (uint32_t column = threadIdx.x; column < run.columns; column += blockDim.x) {
      const int64_t at = run.first + column;
      const float* key = static_cast<const float*>(run.cache.keys) +
                         float_at(run.cache, head_, run.row + (run.repeated ? 0 : column), dim());
      for (uint32_t i = 0; i < count_; ++i) {
        const Seen visible = seen(run.window, i);
        float x = kMaskedScore;
        if (at >= run.begin && at < run.end && at >= visible.begin && at < visible.end) {
          const float* position =
              static_cast<const float*>(table.data) +
              (uint64_t{head_} * table.rows + static_cast<uint64_t>(at + visible.shift)) * dim();
          const uint32_t content = run.window ? 1 : 0, place = run.window ? 2 : 0;
          x = thread_sum(dim(),
                         [&](uint32_t e, float sum) { return sum + query_at(content, i, e) * key[e]; });
          x += thread_sum(dim(),
                          [&](uint32_t e, float sum) { return sum + query_at(place, i, e) * position[e]; });
        }
        score(i, run.column + column) = x;
        largest[i] = max_of(x, largest[i]);
      }
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
    float sum = 0;
    for (uint32_t n = 0; n < s_.count; ++n) {
      const KeyRun& run = s_.runs[n];
      for (auto c = static_cast<uint32_t>(run.begin - run.first); c < run.end - run.first; ++c) {
        const uint32_t row = run.row + (run.repeated ? 0 : c);
        const float weight = score(i, run.column + c) * s.factor[i];
        sum +=
            weight * static_cast<const float*>(run.cache.values)[float_at(run.cache, head_, row, dim()) + e];
      }
    }
    out(i)[e] = sum;
  }
}

template <bool int8>
LSRT_DEVICE void causal_attend(const CausalAttendParams& p, CausalShared& s, unsigned char* shared) {
  const uint32_t tile = attend_tile(p.rows);
  const uint64_t tasks = uint64_t{p.extents.heads} * ceil_div(p.rows, tile);
  const uint64_t bytes = tile * causal_columns(p.extents, tile) * sizeof(float);
  auto* scores = reinterpret_cast<float*>(
      p.scratch ? static_cast<unsigned char*>(p.scratch) + blockIdx.x * bytes : shared);
  for (uint64_t task = blockIdx.x; task < tasks; task += gridDim.x) {
    CausalTask here(p, s, scores, tile, task);
    here.prepare(int8);
    if (int8) {
      here.attend_int8();
    } else {
      here.attend_float();
    }
  }
}

LSRT_KERNEL(causal_attend, CausalAttendParams, 256) {
  LSRT_SHARED(CausalShared, s);
  LSRT_DYNAMIC_SHARED(shared);
  causal_attend<true>(p, s, shared);
}

LSRT_KERNEL(causal_attend_float, CausalAttendParams, 256) {
  LSRT_SHARED(CausalShared, s);
  LSRT_DYNAMIC_SHARED(shared);
  causal_attend<false>(p, s, shared);
}

}  // namespace cuda
}  // namespace lsrt
