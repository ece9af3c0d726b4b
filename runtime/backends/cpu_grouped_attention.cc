// Attention within groups on the CPU. A task is one head and one group (or, where there is a single group,
// one head and a tile of its queries): the group's keys become panels, so that scores are a small matrix
// product, and all that a task touches stays in the L2 cache. Columns of a score row: the group's keys, the
// global keys, masked padding.
#include <cstring>

#include "runtime/backends/cpu.h"
#include "runtime/backends/cpu_lanes.h"

namespace lsrt {
namespace {

// Queries that share one pass over the keys, at most, and bytes of their scores and weights.
constexpr size_t kMaxTile = 64;
constexpr size_t kMinTile = 12;
constexpr size_t kTileBytes = 192 << 10;

struct Extents {
  size_t dim, padded_dim, value_dim;  // of a head: as it is, in keys, in values
  size_t rows;                        // quantized rows: all rows, the global rows, one row of zeros
  size_t keys, columns;               // of a score row: real ones, with padding
  size_t tile, tiles;                 // queries at a time

  explicit Extents(const GroupedAttention& a)
      : dim(a.head_dim),
        padded_dim(round_up(dim, kPanelDepth)),
        value_dim(round_up(dim, kPanelOutputs)),
        rows(a.rows + a.globals + 1),
        keys(a.group_keys + a.globals),
        columns(round_up(keys, kPanelOutputs)) {
    const size_t cached = kTileBytes / (columns * (sizeof(float) + sizeof(uint16_t)));
    const size_t most = std::min(kMaxTile, std::max(kMinTile, cached));
    tiles = (a.group_queries + most - 1) / most;
    tile = (a.group_queries + tiles - 1) / tiles;  // of equal size
  }
};

// All rows in int8, each (row, head) once; the last row is zero.
struct QuantizedRows {
  int8_t *key, *value;             // [heads, rows, padded_dim]
  float *key_scale, *value_scale;  // [heads, rows]
  int32_t* key_sum;                // [heads, rows]

  QuantizedRows(const GroupedAttention& a, const Extents& e, Carver* carver) {
    key = carver->take<int8_t>(a.heads * e.rows * e.padded_dim);
    value = carver->take<int8_t>(a.heads * e.rows * e.padded_dim);
    key_scale = carver->take<float>(a.heads * e.rows);
    value_scale = carver->take<float>(a.heads * e.rows);
    key_sum = carver->take<int32_t>(a.heads * e.rows);
  }

  void write(const RowKernels& kernels, const GroupedAttention& a, const Extents& e, size_t row) const {
    for (size_t head = 0; head < a.heads; ++head) {
      const size_t at = head * e.rows + row;
      int8_t* k = key + at * e.padded_dim;
      int8_t* v = value + at * e.padded_dim;
      std::memset(k + e.dim, 0, e.padded_dim - e.dim);
      std::memset(v + e.dim, 0, e.padded_dim - e.dim);
      if (row + 1 == e.rows) {
        std::memset(k, 0, e.dim);
        std::memset(v, 0, e.dim);
        key_scale[at] = value_scale[at] = 0;
      } else {
        const bool global = row >= a.rows;
        const size_t offset = (global ? (row - a.rows) * a.global_stride : row * a.stride) + head * e.dim;
        key_scale[at] = kernels.quantize_symmetric((global ? a.global_key : a.key) + offset, e.dim, k);
        value_scale[at] = kernels.quantize_symmetric((global ? a.global_value : a.value) + offset, e.dim, v);
      }
      int32_t sum = 0;
      for (size_t i = 0; i < e.dim; ++i) sum += k[i];
      key_sum[at] = sum;
    }
  }
};

// 16 elements of four rows, element by element; whole words, so that the compiler uses vectors.
void interleave(const int8_t* a, const int8_t* b, const int8_t* c, const int8_t* d, int8_t* out) {
  static_assert(kPanelDepth == 4);
  uint32_t words[kPanelOutputs];
  for (size_t i = 0; i < kPanelOutputs; ++i) {
    words[i] = static_cast<uint8_t>(a[i]) | static_cast<uint32_t>(static_cast<uint8_t>(b[i])) << 8 |
               static_cast<uint32_t>(static_cast<uint8_t>(c[i])) << 16 |
               static_cast<uint32_t>(static_cast<uint8_t>(d[i])) << 24;
  }
  std::memcpy(out, words, sizeof words);
}

// out[i] = scale * x[i]
void scale_to_float(float scale, const int32_t* __restrict x, size_t n, float* __restrict out) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) out[i + j] = scale * static_cast<float>(x[i + j]);
  }
  for (; i < n; ++i) out[i] = scale * static_cast<float>(x[i]);
}

// The keys and values of one (head, group) in the layout of the kernels.
struct GroupPanels {
  int8_t* key;         // [columns / 16][padded_dim / 4][16][4]
  int8_t* value;       // [value_dim / 16][columns / 4][16][4]
  float* key_scale;    // [columns]
  int32_t* key_sum;    // [columns]
  float* mask;         // [columns]: 0, or kMaskedScore where there is no key
  float* value_scale;  // [columns]
  int32_t* source;     // [columns]: quantized row

  GroupPanels(const Extents& e, Carver* carver) {
    key = carver->take<int8_t>(e.columns * e.padded_dim);
    value = carver->take<int8_t>(e.columns * e.value_dim);
    key_scale = carver->take<float>(e.columns);
    key_sum = carver->take<int32_t>(e.columns);
    mask = carver->take<float>(e.columns);
    value_scale = carver->take<float>(e.columns);
    source = carver->take<int32_t>(e.columns);
  }

  void gather(const GroupedAttention& a, const Extents& e, const QuantizedRows& rows, size_t head,
              size_t group) {
    const size_t first_row = head * e.rows;
    for (size_t c = 0; c < e.columns; ++c) {
      const int32_t row = c < a.group_keys ? a.key_rows[group * a.group_keys + c]
                          : c < e.keys     ? static_cast<int32_t>(a.rows + c - a.group_keys)
                                           : -1;
      const size_t from = first_row + (row < 0 ? e.rows - 1 : row);
      source[c] = static_cast<int32_t>(from);
      mask[c] = row < 0 ? kMaskedScore : 0.0f;
      key_scale[c] = rows.key_scale[from];
      key_sum[c] = rows.key_sum[from];
      value_scale[c] = rows.value_scale[from];
    }
    gather_keys(e, rows.key);
    gather_values(e, rows.value);
  }

  PanelWeights keys(const Extents& e) const { return {key, key_scale, key_sum, mask, e.columns, e.dim}; }

 private:
  void gather_keys(const Extents& e, const int8_t* rows) {
    constexpr size_t kGroup = kPanelOutputs * kPanelDepth;
    for (size_t c = 0; c < e.columns; ++c) {
      const int8_t* from = rows + source[c] * e.padded_dim;
      int8_t* to = key + c / kPanelOutputs * panel_bytes(e.dim) + c % kPanelOutputs * kPanelDepth;
      for (size_t k = 0; k < e.padded_dim; k += kPanelDepth, to += kGroup)
        std::memcpy(to, from + k, kPanelDepth);
    }
  }

  void gather_values(const Extents& e, const int8_t* rows) {
    const size_t panel_stride = e.columns * kPanelOutputs;
    if (e.dim != e.value_dim) std::memset(value, 0, e.columns * e.value_dim);
    for (size_t c = 0; c < e.columns; c += kPanelDepth) {
      const int8_t* from[kPanelDepth];
      for (size_t t = 0; t < kPanelDepth; ++t) from[t] = rows + source[c + t] * e.padded_dim;
      int8_t* to = value + c * kPanelOutputs;
      size_t k = 0;
      for (; k + kPanelOutputs <= e.dim; k += kPanelOutputs, to += panel_stride) {
        interleave(from[0] + k, from[1] + k, from[2] + k, from[3] + k, to);
      }
      for (size_t i = 0; k + i < e.dim; ++i) {
        for (size_t t = 0; t < kPanelDepth; ++t) to[i * kPanelDepth + t] = from[t][k + i];
      }
    }
  }
};

// A thread's buffers for one tile of queries.
struct TileScratch {
  float* scores;        // [tile, columns]
  uint16_t* weight;     // [tile, columns]
  int32_t* sum;         // [tile, value_dim]
  uint8_t* packed;      // [tile] packed queries
  RowScale* row_scale;  // [tile]

  TileScratch(const Extents& e, const GemmKernels& gemm, Carver* carver) {
    scores = carver->take<float>(e.tile * e.columns);
    weight = carver->take<uint16_t>(e.tile * e.columns);
    sum = carver->take<int32_t>(e.tile * e.value_dim);
    packed = carver->take<uint8_t>(e.tile * gemm.packed_row_bytes(e.dim));
    row_scale = carver->take<RowScale>(e.tile);
  }
};

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

void attend_int8(const Kernels& kernels, const GroupedAttention& a, const Extents& e,
                 const GroupPanels& panels, const TileScratch& scratch, size_t head, const Queries& queries) {
  if (queries.count == 0) return;
  const size_t packed_bytes = kernels.gemm.packed_row_bytes(e.dim);
  for (size_t i = 0; i < queries.count; ++i) {
    kernels.gemm.pack_rows(a.query + queries.row[i] * a.stride + head * e.dim, a.stride, 1, e.dim,
                           scratch.packed + i * packed_bytes, scratch.row_scale + i);
  }
  kernels.gemm.gemm(scratch.packed, scratch.row_scale, queries.count, panels.keys(e), 0,
                    panel_count(e.columns), scratch.scores, e.columns);
  float scale[kMaxTile];
  for (size_t i = 0; i < queries.count; ++i) {
    float* scores = scratch.scores + i * e.columns;
    if (a.bias) {
      kernels.rows.add(a.bias + (head * a.group_queries + queries.index[i]) * a.group_keys, a.group_keys,
                       scores);
    }
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
    const float* bias =
        a.bias ? a.bias + (head * a.group_queries + queries.index[i]) * a.group_keys : nullptr;
    for (size_t c = 0; c < a.group_keys; ++c) {
      scores[c] =
          key_rows[c] < 0 ? kMaskedScore : dot(query, a.key + key_rows[c] * a.stride + offset, a.head_dim);
      if (bias) scores[c] += bias[c];
    }
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

  Workspace(const GroupedAttention& a, const Extents& e, const GemmKernels& gemm, size_t threads,
            Carver* carver)
      : rows(a, e, carver) {
    Carver one_panels(nullptr), one_tile(nullptr);
    GroupPanels measured_panels(e, &one_panels);
    TileScratch measured_tile(e, gemm, &one_tile);
    panels_bytes = one_panels.used();
    tile_bytes = one_tile.used();
    panels = carver->take<uint8_t>(panels_bytes * (a.groups == 1 ? a.heads : threads));
    tiles = carver->take<uint8_t>(tile_bytes * threads);
  }
  GroupPanels panels_of(const Extents& e, size_t slot) const {
    Carver carver(panels + slot * panels_bytes);
    return GroupPanels(e, &carver);
  }
  TileScratch tile_of(const Extents& e, const GemmKernels& gemm, size_t thread) const {
    Carver carver(tiles + thread * tile_bytes);
    return TileScratch(e, gemm, &carver);
  }
};

}  // namespace

size_t CpuBackend::grouped_attention_workspace_bytes(const GroupedAttention& a, size_t threads) const {
  const Extents e(a);
  if (!a.int8) return threads * e.columns * sizeof(float);
  Carver carver(nullptr);
  Workspace workspace(a, e, kernels_.gemm, threads, &carver);
  return carver.used();
}

void CpuBackend::grouped_attention(Stream& stream, const GroupedAttention& a) {
  const CpuStream& cpu = static_cast<CpuStream&>(stream);
  const Extents e(a);
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
  cpu.parallel(e.rows, [&](size_t row, size_t) { workspace.rows.write(kernels_.rows, a, e, row); });

  auto attend = [&](const GroupPanels& panels, size_t thread, size_t head, size_t group, size_t tile) {
    attend_int8(kernels_, a, e, panels, workspace.tile_of(e, kernels_.gemm, thread), head,
                Queries(a, group, tile * e.tile, (tile + 1) * e.tile));
  };
  if (a.groups == 1) {
    cpu.parallel(a.heads, [&](size_t head, size_t) {
      workspace.panels_of(e, head).gather(a, e, workspace.rows, head, 0);
    });
    cpu.parallel(a.heads * e.tiles, [&](size_t task, size_t thread) {
      const size_t head = task / e.tiles;
      attend(workspace.panels_of(e, head), thread, head, 0, task % e.tiles);
    });
  } else {
    cpu.parallel(a.heads * a.groups, [&](size_t task, size_t thread) {
      GroupPanels panels = workspace.panels_of(e, thread);
      const size_t head = task / a.groups, group = task % a.groups;
      panels.gather(a, e, workspace.rows, head, group);
      for (size_t tile = 0; tile < e.tiles; ++tile) attend(panels, thread, head, group, tile);
    });
  }
}

}  // namespace lsrt
