// Streaming state and key segments of causal long-short attention on the CPU (spec section 1).
#pragma once

#include "runtime/device/cpu/causal_cache.h"

namespace lsrt {

// One layer's state, carved from CausalLayer::state. Nothing in it counts: what is stored where follows from
// the position.
template <typename Cache>
struct CausalState {
  Cache window;       // ring of rows
  Cache memory;       // ring of summaries in memory form; those of the current block lie past the visible end
  Cache block;        // summaries of the current block in block form, by index in the block
  Cache zero_window;  // row 0: the key and value of the endless past
  Cache zero_summary;
  float* pending_x;   // [chunk, width]: mixer inputs of the unfinished chunk
  float* pending_kv;  // [chunk, 2 width + heads * rank]: their keys, values, chunk weights

  explicit CausalState(const CausalShape& s, Carver* carver) {
    window.carve(carver, s.heads, s.head_dim, s.window ? s.window + s.max_rows : 0);
    memory.carve(carver, s.heads, s.head_dim, s.memory_summaries() + s.block_summaries());
    block.carve(carver, s.heads, s.head_dim, s.block_summaries());
    zero_window.carve(carver, s.heads, s.head_dim, 1);
    zero_summary.carve(carver, s.heads, s.head_dim, 1);
    pending_x = carver->take<float>(s.rank ? s.chunk * s.width() : 0);
    pending_kv = carver->take<float>(s.rank ? s.chunk * kv_width(s) : 0);
  }
  static size_t kv_width(const CausalShape& s) { return 2 * s.width() + s.heads * s.rank; }
};

// Calls f(CausalState<Int8Cache or FloatCache>&).
template <typename F>
void with_state(const CausalLayer& layer, const F& f) {
  Carver carver(layer.state.address());
  if (layer.shape.int8) {
    CausalState<Int8Cache> state(layer.shape, &carver);
    f(state);
  } else {
    CausalState<FloatCache> state(layer.shape, &carver);
    f(state);
  }
}

// A thread's buffers where rows are stored.
struct StoreScratch {
  float *key, *value;  // [width], one behind the other
  float* weight;       // [heads * rank, chunk]

  StoreScratch(const CausalShape& s, Carver* carver);
};

// Columns of a score row that read consecutive keys of one cache. Keys have an index in a logical order:
// summaries 0 .. from the oldest visible one; window rows their position in the stream, negative in the zero
// past.
template <typename Cache>
struct Segment {
  const Cache* cache;
  bool repeated;       // every column reads row 0 of the cache
  size_t row;          // of column 0; a multiple of 16
  size_t column;       // first column; a multiple of 16
  size_t columns;      // a multiple of 16
  int64_t first;       // logical index of the first column
  int64_t begin, end;  // logical indices that are really there
};

// At most: zero, two runs of memory, block summaries.
constexpr size_t kMaxSegments = 4;

template <typename Cache>
struct SegmentList {
  Segment<Cache> list[kMaxSegments];
  size_t count = 0;
  size_t columns = 0;

  // Columns of any list that has `keys` keys: each segment may begin and end inside a panel.
  static constexpr size_t most_columns(size_t keys) {
    return round_up(keys, kPanelOutputs) + kMaxSegments * 2 * kPanelOutputs;
  }

  // Keys [begin, end) that are all row 0 of `cache`. As in a ring, key t is on lane t % 16.
  void add_repeated(const Cache& cache, int64_t begin, int64_t end) {
    if (begin >= end) return;
    const int64_t lane = begin & static_cast<int64_t>(kPanelOutputs - 1), first = begin - lane;
    append({&cache, true, 0, columns, round_up(end - first, kPanelOutputs), first, begin, end});
  }
  // Keys [begin, end) of a ring, stored at ring position begin + shift ....
  void add_ring(const Cache& cache, int64_t begin, int64_t end, int64_t shift) {
    RingRun runs[2];
    size_t n = begin < end ? ring_runs(begin + shift, end + shift, cache.capacity, runs) : 0;
    for (size_t i = 0; i < n; ++i) {
      size_t lane = runs[i].row % kPanelOutputs;
      int64_t first = static_cast<int64_t>(runs[i].first) - shift;
      append({&cache, false, runs[i].row - lane, columns, round_up(lane + runs[i].count, kPanelOutputs),
              first - static_cast<int64_t>(lane), first, first + static_cast<int64_t>(runs[i].count)});
    }
  }

 private:
  void append(const Segment<Cache>& segment) {
    list[count++] = segment;
    columns += segment.columns;
  }
};

// Where a step stands: what its queries see of the past.
struct CausalView {
  size_t zeros;           // summaries of the zero past that are still visible
  uint64_t memory_begin;  // stored summaries that are visible: [begin, end), counted from the stream's start
  uint64_t memory_end;
  size_t block_chunk;  // index in the stream of the block's first chunk

  CausalView(const CausalShape& s, uint64_t position) {
    block_chunk = position / s.block * (s.block / s.chunk);
    memory_end = block_chunk * s.rank;
    memory_begin = memory_end > s.memory_summaries() ? memory_end - s.memory_summaries() : 0;
    zeros = s.memory_summaries() - (memory_end - memory_begin);
  }
};

// All summaries that a query of chunk `chunk` or an earlier one may see.
template <typename Cache>
SegmentList<Cache> summary_segments(const CausalState<Cache>& state, const CausalShape& s,
                                    const CausalView& view, size_t chunk) {
  SegmentList<Cache> segments;
  if (s.rank == 0) return segments;
  const int64_t zeros = view.zeros, stored = s.memory_summaries();
  segments.add_repeated(state.zero_summary, 0, zeros);
  segments.add_ring(state.memory, zeros, stored, static_cast<int64_t>(view.memory_begin) - zeros);
  segments.add_ring(state.block, stored, stored + (chunk - view.block_chunk) * s.rank, -stored);
  return segments;
}

template <typename Cache>
constexpr size_t most_summary_columns(const CausalShape& s) {
  return s.rank ? SegmentList<Cache>::most_columns(s.positions()) : 0;
}

// All window rows that queries at stream positions first .. last may see.
template <typename Cache>
SegmentList<Cache> window_segments(const CausalState<Cache>& state, const CausalShape& s, int64_t first,
                                   int64_t last) {
  SegmentList<Cache> segments;
  if (s.window == 0) return segments;
  const int64_t begin = first - static_cast<int64_t>(s.window) + 1;
  segments.add_repeated(state.zero_window, begin, 0);
  segments.add_ring(state.window, std::max<int64_t>(begin, 0), last + 1, 0);
  return segments;
}
template <typename Cache>
constexpr size_t most_window_columns(const CausalShape& s, size_t queries) {
  return s.window ? SegmentList<Cache>::most_columns(s.window + queries - 1) : 0;
}

}  // namespace lsrt
