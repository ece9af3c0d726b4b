// Causal long-short attention on the CPU: one softmax over summaries and window. A task is one head and a
// tile of queries. Its scores live in a small buffer of the thread's own: columns are keys, segment after
// segment, each segment aligned to 16 keys, masked where a query may not look.
#include <cstring>

#include "runtime/device/cpu/causal.h"
#include "runtime/device/cpu/lanes.h"

namespace lsrt {
namespace {

// Queries that share one pass over the keys: a tile of AMX; other sets do not mind.
constexpr size_t kTile = 16;

// Rows [base, end) of a position table; base is a multiple of 16, so that panels are read whole.
struct PositionRows {
  size_t base = 0, end = 0;

  static PositionRows of(size_t begin, size_t end) { return {begin / kPanelOutputs * kPanelOutputs, end}; }
  size_t columns() const { return round_up(end - base, kPanelOutputs); }
  static constexpr size_t most_columns(size_t rows) {
    return round_up(rows + kPanelOutputs - 1, kPanelOutputs);
  }
};

// A head's table as weights.
PanelWeights panels_of(const DeviceTensor& table, size_t head) {
  const size_t rows = table.shape[1], depth = table.shape[2], first = head * panel_count(rows);
  return {table.data.as<const int8_t>().address() + first * panel_bytes(depth),
          table.scales.address() + first * kPanelOutputs,
          table.sums.address() + first * kPanelOutputs,
          nullptr,
          rows,
          depth};
}

// A thread's buffers for one task.
struct Scratch {
  float* query;         // [tile, head_dim]
  float* scores;        // [tile, columns]
  float* positions;     // [tile, position columns]
  float* value_scale;   // [columns]
  float* single;        // [tile, 16]: scores of a repeated key
  uint16_t* weight;     // [tile, columns]
  int32_t* sum;         // [tile, round_up(head_dim, 16)]
  uint8_t* packed;      // [tile] packed queries
  RowScale* row_scale;  // [tile]

  // Room for the most columns; a task's rows are as long as its own keys need.
  Scratch(const CausalShape& s, const GemmKernels& gemm, Carver* carver) {
    const size_t tile = std::min(kTile, s.max_rows);
    const size_t columns = most_summary_columns<Int8Cache>(s) + most_window_columns<Int8Cache>(s, tile);
    const size_t position_columns =
        std::max(PositionRows::most_columns(s.positions()), PositionRows::most_columns(s.window));
    query = carver->take<float>(tile * s.head_dim);
    scores = carver->take<float>(tile * columns);
    positions = carver->take<float>(tile * position_columns);
    value_scale = carver->take<float>(columns);
    single = carver->take<float>(tile * kPanelOutputs);
    weight = carver->take<uint16_t>(tile * columns);
    sum = carver->take<int32_t>(tile * round_up(s.head_dim, kPanelOutputs));
    packed = carver->take<uint8_t>(tile * gemm.packed_row_bytes(s.head_dim));
    row_scale = carver->take<RowScale>(tile);
  }
};

template <typename Cache>
class Task {
 public:
  Task(const Kernels& kernels, const CausalLayer& layer, const CausalStep& step,
       const CausalState<Cache>& state, uint64_t position, const CausalView& view, const Scratch& scratch,
       size_t head, size_t first, size_t count)
      : kernels_(kernels),
        layer_(layer),
        s_(layer.shape),
        step_(step),
        position_(position),
        scratch_(scratch),
        head_(head),
        first_(first),
        count_(count),
        block_chunk_(view.block_chunk),
        summaries_(summary_segments(state, s_, view, chunk_of(count - 1))),
        window_(window_segments(state, s_, position_of(0), position_of(count - 1))),
        columns_(summaries_.columns + window_.columns) {}

  void run(float* y) {
    const size_t query_stride = 3 * s_.width() + s_.heads * s_.rank;
    const float* query = step_.qkv.address() + first_ * query_stride + head_ * s_.head_dim;
    if (s_.rank) {
      use_queries(query, query_stride, nullptr);
      content(summaries_, 0);
      const size_t table_rows = layer_.chunk_positions.shape[1];
      const size_t seen = s_.memory_summaries() + (chunk_of(count_ - 1) - block_chunk_) * s_.rank;
      position_scores(layer_.chunk_positions, table_rows - seen, table_rows);
      add_positions(summaries_, 0, [&](size_t i) {
        int64_t visible = s_.memory_summaries() + (chunk_of(i) - block_chunk_) * s_.rank;
        return Range{0, visible};
      });
    }
    if (s_.window) {
      const size_t bias = head_ * s_.head_dim;
      use_queries(query, query_stride, layer_.content_bias.address() + bias);
      content(window_, summaries_.columns);
      use_queries(query, query_stride, layer_.position_bias.address() + bias);
      position_scores(layer_.window_positions, 0, s_.window);
      add_positions(window_, summaries_.columns, [&](size_t i) {
        int64_t end = position_of(i) + 1;
        return Range{end - static_cast<int64_t>(s_.window), end};
      });
    }
    weigh_values(y + first_ * s_.width() + head_ * s_.head_dim);
  }

 private:
  struct Range {
    int64_t begin, end;
  };
  static constexpr bool kInt8 = std::is_same_v<Cache, Int8Cache>;

  int64_t position_of(size_t i) const { return position_ + first_ + i; }
  size_t chunk_of(size_t i) const { return position_of(i) / s_.chunk; }
  float* scores(size_t i) const { return scratch_.scores + i * columns_; }

  // Queries of the tile, plus a bias of the head.
  void use_queries(const float* query, size_t stride, const float* bias) {
    for (size_t i = 0; i < count_; ++i) {
      float* row = scratch_.query + i * s_.head_dim;
      std::memcpy(row, query + i * stride, s_.head_dim * sizeof(float));
      if (bias) kernels_.rows.add(bias, s_.head_dim, row);
    }
    if (kInt8) {
      kernels_.gemm.pack_rows(scratch_.query, s_.head_dim, count_, s_.head_dim, scratch_.packed,
                              scratch_.row_scale);
    }
  }

  // out[i * ld + n] = query i . key n of a set of weights
  void multiply(const PanelWeights& keys, float* out, size_t ld) {
    kernels_.gemm.gemm(scratch_.packed, scratch_.row_scale, count_, keys, 0, panel_count(keys.outputs), out,
                       ld);
  }

  // Scores of all keys of the segments, in columns from `column` on.
  void content(const SegmentList<Cache>& segments, size_t column) {
    for (size_t n = 0; n < segments.count; ++n) {
      const Segment<Cache>& segment = segments.list[n];
      float* out = scratch_.scores + column + segment.column;
      if constexpr (kInt8) {
        if (segment.repeated) {
          multiply(segment.cache->key_panels(head_, 0, 1), scratch_.single, kPanelOutputs);
          for (size_t i = 0; i < count_; ++i) {
            std::fill_n(out + i * columns_, segment.columns, scratch_.single[i * kPanelOutputs]);
          }
        } else {
          multiply(segment.cache->key_panels(head_, segment.row, segment.columns), out, columns_);
        }
      } else {
        for (size_t i = 0; i < count_; ++i) {
          for (int64_t key = segment.begin; key < segment.end; ++key) {
            size_t at = key - segment.first;
            const float* row = segment.cache->key(head_, segment.repeated ? 0 : segment.row + at);
            out[i * columns_ + at] = dot(scratch_.query + i * s_.head_dim, row, s_.head_dim);
          }
        }
      }
    }
  }

  // Query . table row, for table rows begin .. end - 1; row n goes to column n - rows_.base.
  void position_scores(const DeviceTensor& table, size_t begin, size_t end) {
    rows_ = PositionRows::of(begin, end);
    const size_t columns = rows_.columns();
    if (kInt8) {
      PanelWeights rows = panels_of(table, head_);
      rows.data += rows_.base / kPanelOutputs * panel_bytes(s_.head_dim);
      rows.scale += rows_.base, rows.sum += rows_.base, rows.outputs = end - rows_.base;
      multiply(rows, scratch_.positions, columns);
    } else {
      for (size_t i = 0; i < count_; ++i) {
        for (size_t row = begin; row < end; ++row) {
          scratch_.positions[i * columns + row - rows_.base] =
              dot(scratch_.query + i * s_.head_dim,
                  table.data.as<const float>().address() + (head_ * table.shape[1] + row) * s_.head_dim,
                  s_.head_dim);
        }
      }
    }
  }

  // Query i sees the keys visible(i): the table's last row belongs to the last of them. Masks all others.
  template <typename Visible>
  void add_positions(const SegmentList<Cache>& segments, size_t column, const Visible& visible) {
    for (size_t i = 0; i < count_; ++i) {
      const Range range = visible(i);
      const float* positions = scratch_.positions + i * rows_.columns();
      for (size_t n = 0; n < segments.count; ++n) {
        const Segment<Cache>& segment = segments.list[n];
        float* out = scores(i) + column + segment.column;
        const int64_t last = segment.columns;
        int64_t begin = std::max(segment.begin, range.begin) - segment.first;
        int64_t end = std::max(begin, std::min(segment.end, range.end) - segment.first);
        if (begin >= last) begin = end = last;
        std::fill(out, out + begin, kMaskedScore);
        if (begin < end) {
          int64_t row = static_cast<int64_t>(rows_.end) - range.end + segment.first + begin;
          kernels_.rows.add(positions + row - rows_.base, end - begin, out + begin);
        }
        std::fill(out + end, out + last, kMaskedScore);
      }
    }
  }

  // y[i] = sum over keys of softmax(scores) * value
  void weigh_values(float* y) {
    const size_t sum_stride = round_up(s_.head_dim, kPanelOutputs);
    if constexpr (kInt8) {
      for_segments([&](const Segment<Cache>& segment, size_t column) {
        const float* scale = segment.cache->value_scale + head_ * segment.cache->capacity + segment.row;
        float* out = scratch_.value_scale + column;
        if (segment.repeated) {
          std::fill_n(out, segment.columns, *scale);
        } else {
          std::memcpy(out, scale, segment.columns * sizeof(float));
        }
      });
      float scale[kTile];
      kernels_.rows.softmax_weights(scratch_.scores, scratch_.value_scale, count_, columns_, scratch_.weight,
                                    scale);
      std::fill_n(scratch_.sum, count_ * sum_stride, 0);
      for_segments([&](const Segment<Cache>& segment, size_t column) {
        const uint16_t* weight = scratch_.weight + column;
        if (!segment.repeated) {
          kernels_.attn.weighted_sum(weight, columns_, count_, segment.cache->value_rows(head_, segment.row),
                                     segment.columns, s_.head_dim, scratch_.sum, sum_stride);
          return;
        }
        const int8_t* value = segment.cache->value_rows(head_, 0);
        for (size_t i = 0; i < count_; ++i) {
          int32_t total = 0;
          for (size_t c = 0; c < segment.columns; ++c) total += weight[i * columns_ + c];
          for (size_t e = 0; e < s_.head_dim; ++e) {
            scratch_.sum[i * sum_stride + e] += total * value[e * kPanelDepth];
          }
        }
      });
      for (size_t i = 0; i < count_; ++i) {
        for (size_t e = 0; e < s_.head_dim; ++e) {
          y[i * s_.width() + e] = scale[i] * static_cast<float>(scratch_.sum[i * sum_stride + e]);
        }
      }
    } else {
      for (size_t i = 0; i < count_; ++i) {
        kernels_.rows.softmax(scores(i), columns_);
        std::fill_n(y + i * s_.width(), s_.head_dim, 0.0f);
        for_segments([&](const Segment<Cache>& segment, size_t column) {
          for (int64_t key = segment.begin; key < segment.end; ++key) {
            size_t at = key - segment.first;
            const float weight = scores(i)[column + at];  // zero where masked
            const float* value = segment.cache->value(head_, segment.repeated ? 0 : segment.row + at);
            add_scaled(weight, value, s_.head_dim, y + i * s_.width());
          }
        });
      }
    }
  }

  template <typename F>
  void for_segments(const F& f) const {
    for (size_t n = 0; n < summaries_.count; ++n) f(summaries_.list[n], summaries_.list[n].column);
    for (size_t n = 0; n < window_.count; ++n)
      f(window_.list[n], summaries_.columns + window_.list[n].column);
  }

  const Kernels& kernels_;
  const CausalLayer& layer_;
  const CausalShape& s_;
  const CausalStep& step_;
  const uint64_t position_;  // of the step's first row
  const Scratch& scratch_;
  const size_t head_, first_, count_, block_chunk_;
  const SegmentList<Cache> summaries_, window_;
  const size_t columns_;  // of a score row
  PositionRows rows_;     // of the table that was multiplied last
};

}  // namespace

void CpuCausalOps::plan(const CausalShape& s, StreamPlan* plan) const {
  Carver attend_carver(nullptr), store_carver(nullptr);
  Scratch scratch(s, kernels_.gemm, &attend_carver);
  StoreScratch store(s, &store_carver);
  plan->need(plan->threads * std::max(attend_carver.used(), store_carver.used()));
}

void CpuCausalOps::attend(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                          Dev<float> y) const {
  const auto launched = stream.launched("causal_attend", step.rows);
  const uint64_t position = step.numbers.address()->position;
  const CausalShape& s = layer.shape;
  const CpuStream& cpu = cpu_stream(stream);
  const CausalView view(s, position);
  const size_t tiles = (step.rows + kTile - 1) / kTile;
  Carver measure(nullptr);
  Scratch measured(s, kernels_.gemm, &measure);
  const size_t scratch_bytes = measure.used();
  with_state(layer, [&](auto& state) {
    using Cache = std::remove_reference_t<decltype(state.window)>;
    cpu.parallel(s.heads * tiles, [&](size_t task, size_t thread) {
      Carver carver(cpu.workspace() + thread * scratch_bytes);
      Scratch scratch(s, kernels_.gemm, &carver);
      const size_t first = task % tiles * kTile;
      Task<Cache>(kernels_, layer, step, state, position, view, scratch, task / tiles, first,
                  std::min(kTile, step.rows - first))
          .run(y.address());
    });
  });
}

}  // namespace lsrt
