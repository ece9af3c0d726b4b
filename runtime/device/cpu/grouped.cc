// Attention within groups on the CPU. A task is one head and one group (or, where there is a single group,
// one head and a tile of its queries): the group's keys become panels, so that scores are a small matrix
// product, and all that a task touches stays in the L2 cache.
#include <cstring>

#include "runtime/device/cpu/grouped_panels.h"
#include "runtime/device/cpu/lanes.h"

namespace lsrt {
namespace {

constexpr size_t kStoredHeads = 16;  // of a row, quantized together

// out[i] = scale * x[i]
void scale_to_float(float scale, const int32_t* __restrict x, size_t n, float* __restrict out) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) out[i + j] = scale * static_cast<float>(x[i + j]);
  }
  for (; i < n; ++i) out[i] = scale * static_cast<float>(x[i]);
}

// A thread's buffers for one tile of queries.
struct TileScratch {
  float* scores;        // [tile, columns]
  uint16_t* weight;     // [tile, columns]
  int32_t* sum;         // [tile, value_dim]
  uint8_t* packed;      // [tile] packed queries
  RowScale* row_scale;  // [tile]

  TileScratch(const GroupExtents& e, const GemmKernels& gemm, Carver* carver) {
    scores = carver->take<float>(e.tile * e.columns);
    weight = carver->take<uint16_t>(e.tile * e.columns);
    sum = carver->take<int32_t>(e.tile * e.value_dim);
    packed = carver->take<uint8_t>(e.tile * gemm.packed_row_bytes(e.dim));
    row_scale = carver->take<RowScale>(e.tile);
  }
};

// Bytes of a thread's buffers for this many keys or fewer: with fewer keys a tile has more queries.
size_t most_tile_bytes(const GroupExtents& e, const GemmKernels& gemm) {
  const size_t key_bytes = sizeof(float) + sizeof(uint16_t);
  const size_t query_bytes = e.value_dim * sizeof(int32_t) + gemm.packed_row_bytes(e.dim) + sizeof(RowScale);
  return std::max(kTileBytes, kMinTile * e.columns * key_bytes) + kMaxTile * query_bytes +
         5 * Carver::kMostPadding;
}

// Where a tile's queries are: those that exist, at most kMaxTile.
struct Queries {
  size_t count = 0;
  size_t row[kMaxTile];
  size_t index[kMaxTile];  // in the group

  Queries(const GroupedAttention& a, size_t group, size_t first, size_t end) {
    for (size_t i = first; i < std::min(end, a.group_queries); ++i) {
      const int32_t at = a.query_rows.address()[group * a.group_queries + i];
      if (at < 0) continue;
      row[count] = at;
      index[count++] = i;
    }
  }
};

void add_bias(const RowKernels& kernels, const GroupedAttention& a, const GroupColumns& columns, size_t head,
              size_t query, float* scores) {
  const size_t runs = (a.group_keys + a.bias_run - 1) / a.bias_run;
  kernels.add_runs(a.bias.address() + head * a.bias_stride, a.bias_offsets.address() + query * runs,
                   columns.bias, columns.bias_runs, scores);
}

void attend_int8(const Kernels& kernels, const GroupedAttention& a, const GroupExtents& e,
                 const GroupColumns& columns, const GroupPanels& panels, const TileScratch& scratch,
                 size_t head, const Queries& queries) {
  if (queries.count == 0) return;
  const size_t packed_bytes = kernels.gemm.packed_row_bytes(e.dim), n = columns.columns;
  for (size_t i = 0, run; i < queries.count; i += run) {
    for (run = 1; i + run < queries.count && queries.row[i + run] == queries.row[i] + run;) ++run;
    kernels.gemm.pack_rows(a.query.address() + queries.row[i] * a.query_stride + head * e.dim, a.query_stride,
                           run, e.dim, scratch.packed + i * packed_bytes, scratch.row_scale + i);
  }
  kernels.gemm.gemm(scratch.packed, scratch.row_scale, queries.count, panels.keys(e, n), 0, panel_count(n),
                    scratch.scores, n);
  for (size_t i = 0; a.bias && i < queries.count; ++i)
    add_bias(kernels.rows, a, columns, head, queries.index[i], scratch.scores + i * n);
  float scale[kMaxTile];
  kernels.rows.softmax_weights(scratch.scores, panels.value_scale, queries.count, n, scratch.weight, scale);
  std::memset(scratch.sum, 0, queries.count * e.value_dim * sizeof(int32_t));
  kernels.attn.weighted_sum(scratch.weight, n, queries.count, panels.value, n, e.dim, scratch.sum,
                            e.value_dim);
  for (size_t i = 0; i < queries.count; ++i) {
    scale_to_float(scale[i], scratch.sum + i * e.value_dim, e.dim,
                   a.out.address() + queries.row[i] * a.out_stride + head * e.dim);
  }
}

// The same in float32, one query at a time.
void attend_float(const Kernels& kernels, const GroupedAttention& a, const GroupExtents& e,
                  const GroupColumns& columns, float* scores, size_t head, const Queries& queries) {
  const FloatRows rows(a.store);
  const size_t width = a.store.width(), offset = head * e.dim;
  for (size_t i = 0; i < queries.count; ++i) {
    const float* query = a.query.address() + queries.row[i] * a.query_stride + offset;
    for (size_t c = 0; c < columns.keys; ++c) {
      scores[c] = dot(query, rows.key + columns.row[c] * width + offset, e.dim);
    }
    if (a.bias) add_bias(kernels.rows, a, columns, head, queries.index[i], scores);
    kernels.rows.softmax(scores, columns.keys);
    float* out = a.out.address() + queries.row[i] * a.out_stride + offset;
    std::memset(out, 0, e.dim * sizeof(float));
    for (size_t c = 0; c < columns.keys; ++c) {
      add_scaled(scores[c], rows.value + columns.row[c] * width + offset, e.dim, out);
    }
  }
}

// What holds the keys of a group, and what a tile of its queries needs.
struct GroupBuffers {
  GroupColumns columns;
  GroupPanels panels;

  GroupBuffers(const GroupedAttention& a, const GroupExtents& e, Carver* carver)
      : columns(a, e, carver), panels(e, carver) {}
};

// The launch's memory: keys of every head (one group) or of every thread, a tile of every thread.
struct Workspace {
  size_t group_bytes, tile_bytes;
  uint8_t *groups, *tiles;

  Workspace(const GroupedAttention& a, const GroupExtents& e, const GemmKernels& gemm, size_t threads,
            Carver* carver) {
    Carver one_group(nullptr), one_tile(nullptr);
    GroupBuffers measured_group(a, e, &one_group);
    TileScratch measured_tile(e, gemm, &one_tile);
    group_bytes = one_group.used();
    tile_bytes = one_tile.used();
    groups = carver->take<uint8_t>(group_bytes * (a.groups == 1 ? a.heads() : threads));
    tiles = carver->take<uint8_t>(tile_bytes * threads);
  }
  GroupBuffers group(const GroupedAttention& a, const GroupExtents& e, size_t slot) const {
    Carver carver(groups + slot * group_bytes);
    return GroupBuffers(a, e, &carver);
  }
  TileScratch tile(const GroupExtents& e, const GemmKernels& gemm, size_t thread) const {
    Carver carver(tiles + thread * tile_bytes);
    return TileScratch(e, gemm, &carver);
  }
};

}  // namespace

size_t CpuGroupedOps::key_value_bytes(const KeyValueStore& store) const {
  return store.int8 ? Int8Rows(store).bytes : FloatRows(store).bytes;
}

void CpuGroupedOps::store_key_values(Stream& stream, const KeyValueStore& store, size_t first, size_t rows,
                                     Dev<const float> key_rows, Dev<const float> value_rows,
                                     size_t stride) const {
  const auto launched = stream.launched("store_key_values", rows);
  const float *key = key_rows.address(), *value = value_rows.address();
  const CpuStream& cpu = cpu_stream(stream);
  if (!store.int8) {
    const FloatRows stored(store);
    const size_t width = store.width();
    cpu.parallel_rows(rows, [&](size_t i, size_t) {
      std::memcpy(stored.key + (first + i) * width, key + i * stride, width * sizeof(float));
      std::memcpy(stored.value + (first + i) * width, value + i * stride, width * sizeof(float));
    });
    return;
  }
  const Int8Rows stored(store);
  const size_t dim = store.head_dim, padded = stored.padded_dim;
  // Some heads of a row: x to rows `row` of each head's part of out.
  const auto store_heads = [&](const float* x, size_t some, size_t row, int8_t* out, float* out_scale,
                               int32_t* out_sum) {
    float scale[kStoredHeads];
    int32_t sum[kStoredHeads];
    kernels_.rows.quantize_symmetric(x, some, dim, out + row * padded, store.rows * padded, scale, sum);
    for (size_t head = 0; head < some; ++head) {
      const size_t at = head * store.rows + row;
      std::fill(out + at * padded + dim, out + (at + 1) * padded, int8_t{0});
      out_scale[at] = scale[head];
      if (out_sum) out_sum[at] = sum[head];
    }
  };
  cpu.parallel_rows(rows, [&](size_t i, size_t) {
    for (size_t head = 0, some; head < store.heads; head += some) {
      some = std::min(kStoredHeads, store.heads - head);
      const size_t at = head * store.rows, from = i * stride + head * dim;
      store_heads(key + from, some, first + i, stored.key + at * padded, stored.key_scale + at,
                  stored.key_sum + at);
      store_heads(value + from, some, first + i, stored.value + at * padded, stored.value_scale + at,
                  nullptr);
    }
  });
}

void CpuGroupedOps::plan(const GroupedAttention& a, StreamPlan* plan) const {
  const GroupExtents e(a);
  Carver carver(nullptr);
  Workspace workspace(a, e, kernels_.gemm, plan->threads, &carver);
  plan->need(carver.used() + plan->threads * (most_tile_bytes(e, kernels_.gemm) - workspace.tile_bytes));
}

void CpuGroupedOps::attend(Stream& stream, const GroupedAttention& a) const {
  const auto launched = stream.launched("grouped_attention", a.groups * a.group_queries);
  const CpuStream& cpu = cpu_stream(stream);
  const GroupExtents e(a);
  const size_t heads = a.heads();
  Carver carver(cpu.workspace());
  const Workspace workspace(a, e, kernels_.gemm, cpu.threads(), &carver);
  // Heads are counted from the first one.
  auto attend = [&](const GroupBuffers& keys, size_t thread, size_t head, size_t group, size_t tile) {
    head += a.first_head;
    const TileScratch scratch = workspace.tile(e, kernels_.gemm, thread);
    const Queries queries(a, group, tile * e.tile, (tile + 1) * e.tile);
    if (a.store.int8) {
      attend_int8(kernels_, a, e, keys.columns, keys.panels, scratch, head, queries);
    } else {
      attend_float(kernels_, a, e, keys.columns, scratch.scores, head, queries);
    }
  };
  if (a.groups == 1) {
    GroupColumns columns = workspace.group(a, e, 0).columns;
    columns.list(a, 0);
    if (a.store.int8) {
      const Int8Rows rows(a.store);
      const size_t panels = panel_count(columns.columns);
      cpu.parallel(heads * panels, [&](size_t task, size_t) {
        const size_t head = task / panels, first = task % panels * kPanelOutputs;
        const GroupPanels keys = workspace.group(a, e, head).panels;
        for (size_t c = first; c < first + kPanelOutputs; c += kPanelDepth)
          keys.gather(a, e, rows, columns, a.first_head + head, c);
      });
    }
    cpu.parallel(heads * e.tiles, [&](size_t task, size_t thread) {
      const size_t head = task / e.tiles;
      GroupBuffers keys = workspace.group(a, e, head);
      keys.columns = columns;
      attend(keys, thread, head, 0, task % e.tiles);
    });
    return;
  }
  // A task takes several groups where they are small: their global keys stay in place.
  const size_t task_groups = std::max<size_t>(1, kMaxTile / a.group_queries);
  const size_t tasks = (a.groups + task_groups - 1) / task_groups;
  cpu.parallel(heads * tasks, [&](size_t task, size_t thread) {
    GroupBuffers keys = workspace.group(a, e, thread);
    const size_t head = task / tasks, first = task % tasks * task_groups;
    for (size_t group = first; group < std::min(a.groups, first + task_groups); ++group) {
      keys.columns.list(a, group);
      if (a.store.int8) {
        const Int8Rows rows(a.store);
        size_t c = group == first ? 0 : a.globals / kPanelDepth * kPanelDepth;
        for (; c < keys.columns.columns; c += kPanelDepth)
          keys.panels.gather(a, e, rows, keys.columns, a.first_head + head, c);
      }
      for (size_t tile = 0; tile < e.tiles; ++tile) attend(keys, thread, head, group, tile);
    }
  });
}

}  // namespace lsrt
