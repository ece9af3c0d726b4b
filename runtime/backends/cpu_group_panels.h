// Keys and values of grouped attention in int8: quantized once per (row, head), then laid out for the
// kernels.
#pragma once

#include <algorithm>
#include <cstring>

#include "runtime/backends/cpu.h"

namespace lsrt {

// Queries that share one pass over the keys, at most, and bytes of their scores and weights.
constexpr size_t kMaxTile = 64;
constexpr size_t kMinTile = 12;
constexpr size_t kTileBytes = 192 << 10;

// Sizes that follow from a launch's shape.
struct GroupExtents {
  size_t dim, padded_dim, value_dim;  // of a head: as it is, in keys, in values
  size_t rows;                        // quantized rows: all rows, the global rows, one row of zeros
  size_t keys, columns;               // of a score row: real ones, with padding
  size_t tile, tiles;                 // queries at a time

  explicit GroupExtents(const GroupedAttention& a)
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

struct QuantizedRow {
  float key_scale, value_scale;
  int32_t key_sum;
};

// Key and value [padded_dim] of a head: of a row, of a global row after the last one, zeros after those.
inline QuantizedRow quantize_row(const RowKernels& kernels, const GroupedAttention& a, const GroupExtents& e,
                                 size_t head, size_t row, int8_t* key, int8_t* value) {
  if (row + 1 == e.rows) {
    std::memset(key, 0, e.padded_dim);
    std::memset(value, 0, e.padded_dim);
    return {0, 0, 0};
  }
  std::memset(key + e.dim, 0, e.padded_dim - e.dim);
  std::memset(value + e.dim, 0, e.padded_dim - e.dim);
  const bool global = row >= a.rows;
  const size_t offset = (global ? (row - a.rows) * a.global_stride : row * a.stride) + head * e.dim;
  QuantizedRow q;
  q.key_scale = kernels.quantize_symmetric((global ? a.global_key : a.key) + offset, e.dim, key);
  q.value_scale = kernels.quantize_symmetric((global ? a.global_value : a.value) + offset, e.dim, value);
  q.key_sum = 0;
  for (size_t i = 0; i < e.dim; ++i) q.key_sum += key[i];
  return q;
}

// The row in column `c` of a group's score rows, in the numbering of quantize_row.
inline size_t row_of_column(const GroupedAttention& a, const GroupExtents& e, size_t group, size_t c) {
  if (c >= a.group_keys) return c < e.keys ? a.rows + c - a.group_keys : e.rows - 1;
  const int32_t row = a.key_rows[group * a.group_keys + c];
  return row < 0 ? e.rows - 1 : row;
}

// All rows in int8, each (row, head) once, for groups that share them.
struct QuantizedRows {
  int8_t *key, *value;             // [heads, rows, padded_dim]
  float *key_scale, *value_scale;  // [heads, rows]
  int32_t* key_sum;                // [heads, rows]

  QuantizedRows() = default;
  QuantizedRows(const GroupedAttention& a, const GroupExtents& e, Carver* carver) {
    key = carver->take<int8_t>(a.heads * e.rows * e.padded_dim);
    value = carver->take<int8_t>(a.heads * e.rows * e.padded_dim);
    key_scale = carver->take<float>(a.heads * e.rows);
    value_scale = carver->take<float>(a.heads * e.rows);
    key_sum = carver->take<int32_t>(a.heads * e.rows);
  }

  void write(const RowKernels& kernels, const GroupedAttention& a, const GroupExtents& e, size_t row) const {
    for (size_t head = 0; head < a.heads; ++head) {
      const size_t at = head * e.rows + row;
      const QuantizedRow q =
          quantize_row(kernels, a, e, head, row, key + at * e.padded_dim, value + at * e.padded_dim);
      key_scale[at] = q.key_scale;
      value_scale[at] = q.value_scale;
      key_sum[at] = q.key_sum;
    }
  }
};

// 16 elements of four rows, element by element; whole words, so that the compiler uses vectors.
inline void interleave(const int8_t* a, const int8_t* b, const int8_t* c, const int8_t* d, int8_t* out) {
  static_assert(kPanelDepth == 4);
  uint32_t words[kPanelOutputs];
  for (size_t i = 0; i < kPanelOutputs; ++i) {
    words[i] = static_cast<uint8_t>(a[i]) | static_cast<uint32_t>(static_cast<uint8_t>(b[i])) << 8 |
               static_cast<uint32_t>(static_cast<uint8_t>(c[i])) << 16 |
               static_cast<uint32_t>(static_cast<uint8_t>(d[i])) << 24;
  }
  std::memcpy(out, words, sizeof words);
}

// The keys and values of one (head, group) in the layout of the kernels.
struct GroupPanels {
  int8_t* key;         // [columns / 16][padded_dim / 4][16][4]
  int8_t* value;       // [value_dim / 16][columns / 4][16][4]
  float* key_scale;    // [columns]
  int32_t* key_sum;    // [columns]
  float* mask;         // [columns]: 0, or kMaskedScore where there is no key
  float* value_scale;  // [columns]

  GroupPanels(const GroupExtents& e, Carver* carver) {
    key = carver->take<int8_t>(e.columns * e.padded_dim);
    value = carver->take<int8_t>(e.columns * e.value_dim);
    key_scale = carver->take<float>(e.columns);
    key_sum = carver->take<int32_t>(e.columns);
    mask = carver->take<float>(e.columns);
    value_scale = carver->take<float>(e.columns);
  }

  // Columns c .. c + 3, from rows in int8 that groups share.
  void gather(const GroupedAttention& a, const GroupExtents& e, const QuantizedRows& rows, size_t head,
              size_t group, size_t c) const {
    const int8_t* values[kPanelDepth];
    for (size_t t = 0; t < kPanelDepth; ++t) {
      const size_t row = row_of_column(a, e, group, c + t), at = head * e.rows + row;
      place_key(e, c + t, row, {rows.key_scale[at], rows.value_scale[at], rows.key_sum[at]},
                rows.key + at * e.padded_dim);
      values[t] = rows.value + at * e.padded_dim;
    }
    place_values(e, c, values);
  }

  // The same from float rows, where there is one group.
  void quantize(const RowKernels& kernels, const GroupedAttention& a, const GroupExtents& e, size_t head,
                size_t c) const {
    int8_t key_row[kMaxHeadDim], value_rows[kPanelDepth][kMaxHeadDim];
    const int8_t* values[kPanelDepth];
    for (size_t t = 0; t < kPanelDepth; ++t) {
      const size_t row = row_of_column(a, e, 0, c + t);
      place_key(e, c + t, row, quantize_row(kernels, a, e, head, row, key_row, value_rows[t]), key_row);
      values[t] = value_rows[t];
    }
    place_values(e, c, values);
  }

  PanelWeights keys(const GroupExtents& e) const { return {key, key_scale, key_sum, mask, e.columns, e.dim}; }

 private:
  void place_key(const GroupExtents& e, size_t c, size_t row, const QuantizedRow& q,
                 const int8_t* from) const {
    mask[c] = row + 1 == e.rows ? kMaskedScore : 0.0f;
    key_scale[c] = q.key_scale;
    key_sum[c] = q.key_sum;
    value_scale[c] = q.value_scale;
    int8_t* to = key + c / kPanelOutputs * panel_bytes(e.dim) + c % kPanelOutputs * kPanelDepth;
    for (size_t k = 0; k < e.padded_dim; k += kPanelDepth, to += kPanelOutputs * kPanelDepth) {
      std::memcpy(to, from + k, kPanelDepth);
    }
  }

  void place_values(const GroupExtents& e, size_t c, const int8_t* const* from) const {
    int8_t* to = value + c * kPanelOutputs;
    size_t k = 0;
    for (; k + kPanelOutputs <= e.dim; k += kPanelOutputs, to += e.columns * kPanelOutputs) {
      interleave(from[0] + k, from[1] + k, from[2] + k, from[3] + k, to);
    }
    if (k == e.dim) return;
    std::memset(to, 0, kPanelOutputs * kPanelDepth);
    for (size_t i = 0; k + i < e.dim; ++i) {
      for (size_t t = 0; t < kPanelDepth; ++t) to[i * kPanelDepth + t] = from[t][k + i];
    }
  }
};

}  // namespace lsrt
