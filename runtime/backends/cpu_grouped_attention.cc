// Attention within groups on the CPU. A task is one head and one group (or, where there is a single group,
// one head and a tile of its queries): the group's keys become panels, so that scores are a small matrix
// product, and all that a task touches stays in the L2 cache. Columns of a score row: the group's keys, the
// global keys, masked padding.
#include <cstring>

#include "runtime/backends/cpu_group_panels.h"
#include "runtime/backends/cpu_lanes.h"

namespace lsrt {
namespace {

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
         5 * kWeightAlignment;
}

// Where a tile's queries are: those that exist, at most kMaxTile.
struct Queries {
  size_t count = 0;
  size_t row[kMaxTile];
  size_t index[kMaxTile];  // in the group

  Queries(const GroupedAttention& a, size_t group, size_t first, size_t end) {
    for (size_t i = first; i < std::min(end, a.group_queries); ++i) {
      const int32_t at = a.query_rows[group * a.group_queries + i];
      if (at < 0) continue;
      row[count] = at;
      index[count++] = i;
    }
  }
};

void add_bias(const RowKernels& kernels, const GroupedAttention& a, size_t head, size_t query, float* scores) {
  const size_t runs = (a.group_keys + a.bias_run - 1) / a.bias_run;
  const float* table = a.bias + head * a.bias_stride;
  const int32_t* offsets = a.bias_offsets + query * runs;
  for (size_t run = 0; run < runs; ++run) {
    const size_t first = run * a.bias_run;
    kernels.add(table + offsets[run], std::min(a.bias_run, a.group_keys - first), scores + first);
  }
}

void attend_int8(const Kernels& kernels, const GroupedAttention& a, const GroupExtents& e,
                 const GroupPanels& panels, const TileScratch& scratch, size_t head, const Queries& queries) {
  if (queries.count == 0) return;
  const size_t packed_bytes = kernels.gemm.packed_row_bytes(e.dim);
  for (size_t i = 0, run; i < queries.count; i += run) {
    for (run = 1; i + run < queries.count && queries.row[i + run] == queries.row[i] + run;) ++run;
    kernels.gemm.pack_rows(a.query + queries.row[i] * a.stride + head * e.dim, a.stride, run, e.dim,
                           scratch.packed + i * packed_bytes, scratch.row_scale + i);
  }
  kernels.gemm.gemm(scratch.packed, scratch.row_scale, queries.count, panels.keys(e), 0,
                    panel_count(e.columns), scratch.scores, e.columns);
  float scale[kMaxTile];
  for (size_t i = 0; i < queries.count; ++i) {
    float* scores = scratch.scores + i * e.columns;
    if (a.bias) add_bias(kernels.rows, a, head, queries.index[i], scores);
    scale[i] =
        kernels.rows.softmax_weights(scores, panels.value_scale, e.columns, scratch.weight + i * e.columns);
  }
  std::memset(scratch.sum, 0, queries.count * e.value_dim * sizeof(int32_t));
  kernels.attn.weighted_sum(scratch.weight, e.columns, queries.count, panels.value, e.columns * kPanelOutputs,
                            e.columns, e.dim, scratch.sum, e.value_dim);
  for (size_t i = 0; i < queries.count; ++i) {
    scale_to_float(scale[i], scratch.sum + i * e.value_dim, e.dim,
                   a.out + queries.row[i] * a.out_stride + head * e.dim);
  }
}

// The same in float32, one query at a time.
void attend_float(const Kernels& kernels, const GroupedAttention& a, float* scores, size_t head, size_t group,
                  const Queries& queries) {
  const int32_t* key_rows = a.key_rows + group * a.group_keys;
  const size_t offset = head * a.head_dim;
  for (size_t i = 0; i < queries.count; ++i) {
    const float* query = a.query + queries.row[i] * a.stride + offset;
    for (size_t c = 0; c < a.group_keys; ++c) {
      scores[c] =
          key_rows[c] < 0 ? kMaskedScore : dot(query, a.key + key_rows[c] * a.stride + offset, a.head_dim);
    }
    if (a.bias) add_bias(kernels.rows, a, head, queries.index[i], scores);
    for (size_t g = 0; g < a.globals; ++g) {
      scores[a.group_keys + g] = dot(query, a.global_key + g * a.global_stride + offset, a.head_dim);
    }
    kernels.rows.softmax(scores, a.group_keys + a.globals);
    float* out = a.out + queries.row[i] * a.out_stride + offset;
    std::memset(out, 0, a.head_dim * sizeof(float));
    for (size_t c = 0; c < a.group_keys; ++c) {
      if (key_rows[c] >= 0) add_scaled(scores[c], a.value + key_rows[c] * a.stride + offset, a.head_dim, out);
    }
    for (size_t g = 0; g < a.globals; ++g) {
      add_scaled(scores[a.group_keys + g], a.global_value + g * a.global_stride + offset, a.head_dim, out);
    }
  }
}

// The launch's memory: rows of all heads, panels of every head (one group) or every thread, scratch of every
// thread.
struct Workspace {
  QuantizedRows rows;
  size_t panels_bytes, tile_bytes;
  uint8_t *panels, *tiles;

  Workspace(const GroupedAttention& a, const GroupExtents& e, const GemmKernels& gemm, size_t threads,
            Carver* carver) {
    if (a.groups > 1) rows = QuantizedRows(a, e, carver);
    Carver one_panels(nullptr), one_tile(nullptr);
    GroupPanels measured_panels(e, &one_panels);
    TileScratch measured_tile(e, gemm, &one_tile);
    panels_bytes = one_panels.used();
    tile_bytes = one_tile.used();
    panels = carver->take<uint8_t>(panels_bytes * (a.groups == 1 ? a.heads : threads));
    tiles = carver->take<uint8_t>(tile_bytes * threads);
  }
  GroupPanels panels_of(const GroupExtents& e, size_t slot) const {
    Carver carver(panels + slot * panels_bytes);
    return GroupPanels(e, &carver);
  }
  TileScratch tile_of(const GroupExtents& e, const GemmKernels& gemm, size_t thread) const {
    Carver carver(tiles + thread * tile_bytes);
    return TileScratch(e, gemm, &carver);
  }
};

}  // namespace

size_t CpuBackend::grouped_attention_workspace_bytes(const GroupedAttention& a, size_t threads) const {
  const GroupExtents e(a);
  if (!a.int8) return threads * e.columns * sizeof(float);
  Carver carver(nullptr);
  Workspace workspace(a, e, kernels_.gemm, threads, &carver);
  return carver.used() + threads * (most_tile_bytes(e, kernels_.gemm) - workspace.tile_bytes);
}

void CpuBackend::grouped_attention(Stream& stream, const GroupedAttention& a) {
  const CpuStream& cpu = static_cast<CpuStream&>(stream);
  const GroupExtents e(a);
  if (!a.int8) {
    cpu.parallel(a.heads * a.groups * e.tiles, [&](size_t task, size_t thread) {
      const size_t tile = task % e.tiles, group = task / e.tiles % a.groups, head = task / e.tiles / a.groups;
      float* scores = reinterpret_cast<float*>(cpu.workspace()) + thread * e.columns;
      attend_float(kernels_, a, scores, head, group, Queries(a, group, tile * e.tile, (tile + 1) * e.tile));
    });
    return;
  }
  Carver carver(cpu.workspace());
  const Workspace workspace(a, e, kernels_.gemm, cpu.threads(), &carver);
  auto attend = [&](const GroupPanels& panels, size_t thread, size_t head, size_t group, size_t tile) {
    attend_int8(kernels_, a, e, panels, workspace.tile_of(e, kernels_.gemm, thread), head,
                Queries(a, group, tile * e.tile, (tile + 1) * e.tile));
  };
  if (a.groups == 1) {
    const size_t panels = panel_count(e.columns);
    cpu.parallel(a.heads * panels, [&](size_t task, size_t) {
      const size_t head = task / panels, first = task % panels * kPanelOutputs;
      for (size_t c = first; c < first + kPanelOutputs; c += kPanelDepth) {
        workspace.panels_of(e, head).quantize(kernels_.rows, a, e, head, c);
      }
    });
    cpu.parallel(a.heads * e.tiles, [&](size_t task, size_t thread) {
      const size_t head = task / e.tiles;
      attend(workspace.panels_of(e, head), thread, head, 0, task % e.tiles);
    });
    return;
  }
  cpu.parallel(e.rows, [&](size_t row, size_t) { workspace.rows.write(kernels_.rows, a, e, row); });
  // A task takes several groups where they are small: their global keys stay in place.
  const size_t task_groups = std::max<size_t>(1, kMaxTile / a.group_queries);
  const size_t tasks = (a.groups + task_groups - 1) / task_groups;
  cpu.parallel(a.heads * tasks, [&](size_t task, size_t thread) {
    const GroupPanels panels = workspace.panels_of(e, thread);
    const size_t head = task / tasks, first = task % tasks * task_groups;
    for (size_t group = first; group < std::min(a.groups, first + task_groups); ++group) {
      const size_t changed = group == first ? e.columns : a.group_keys;
      for (size_t c = 0; c < changed; c += kPanelDepth) panels.gather(a, e, workspace.rows, head, group, c);
      for (size_t tile = 0; tile < e.tiles; ++tile) attend(panels, thread, head, group, tile);
    }
  });
}

}  // namespace lsrt
