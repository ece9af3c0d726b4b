// Keys and values of grouped attention: stored rows, and those of one group laid out for the kernels.
#pragma once

#include <algorithm>
#include <cstring>

#include "runtime/device/cpu/cpu.h"

namespace lsrt {

// Queries that share one pass over the keys, at most, and bytes of their scores and weights.
constexpr size_t kMaxTile = 64;
constexpr size_t kMinTile = 12;
constexpr size_t kTileBytes = 96 << 10;

// Sizes that follow from a launch's shape.
struct GroupExtents {
  size_t dim, padded_dim, value_dim;  // of a head: as it is, in keys, in values
  size_t columns;                     // of a score row, at most
  size_t tile, tiles;                 // queries at a time

  explicit GroupExtents(const GroupedAttention& a)
      : dim(a.store.head_dim),
        padded_dim(round_up(dim, kPanelDepth)),
        value_dim(round_up(dim, kPanelOutputs)),
        columns(round_up(a.group_keys + a.globals, kPanelOutputs)) {
    const size_t cached = kTileBytes / (columns * (sizeof(float) + sizeof(uint16_t)));
    const size_t most = std::min(kMaxTile, std::max(kMinTile, cached));
    tiles = (a.group_queries + most - 1) / most;
    tile = (a.group_queries + tiles - 1) / tiles;  // of equal size
  }
};

// The columns of a group's score rows: the global keys, the group's own keys without the masked ones, padding
// to a multiple of 16.
struct GroupColumns {
  int32_t* row;  // [columns]: of the store; -1: padding
  AddRun* bias;  // [group_keys] at most: where the biases go
  size_t keys = 0, columns = 0, bias_runs = 0;

  GroupColumns(const GroupedAttention& a, const GroupExtents& e, Carver* carver) {
    row = carver->take<int32_t>(e.columns);
    bias = carver->take<AddRun>(a.bias_run ? a.group_keys : 0);
  }

  void list(const GroupedAttention& a, size_t group) {
    for (keys = 0; keys < a.globals; ++keys) row[keys] = static_cast<int32_t>(a.global_first + keys);
    const int32_t* key_rows = a.key_rows.address() + group * a.group_keys;
    const size_t span = a.bias ? a.bias_run : a.group_keys;
    bias_runs = 0;
    for (size_t first = 0, run = 0; first < a.group_keys; first += span, ++run) {
      for (size_t k = first; k < std::min(first + span, a.group_keys); ++k) {
        if (key_rows[k] < 0) continue;
        if (a.bias) add_bias_key(static_cast<uint32_t>(run), static_cast<uint32_t>(k - first));
        row[keys++] = key_rows[k];
      }
    }
    columns = round_up(keys, kPanelOutputs);
    for (size_t c = keys; c < columns; ++c) row[c] = -1;
  }

 private:
  // The next column is the key `from` of a run.
  void add_bias_key(uint32_t run, uint32_t from) {
    AddRun* last = bias + bias_runs - 1;
    if (bias_runs && last->index == run && last->from + last->count == from) {
      ++last->count;
    } else {
      bias[bias_runs++] = {run, from, static_cast<uint32_t>(keys), 1};
    }
  }
};

// What lies in the memory of a store: int8 rows, zero from head_dim on, or float rows.
struct Int8Rows {
  size_t padded_dim;
  int8_t *key, *value;             // [heads, rows, padded_dim]
  float *key_scale, *value_scale;  // [heads, rows]
  int32_t* key_sum;                // [heads, rows]
  size_t bytes;

  explicit Int8Rows(const KeyValueStore& store) : padded_dim(round_up(store.head_dim, kPanelDepth)) {
    Carver carver = Carver::shared(store.memory.address());  // with other layers'
    key = carver.take<int8_t>(store.heads * store.rows * padded_dim);
    value = carver.take<int8_t>(store.heads * store.rows * padded_dim);
    key_scale = carver.take<float>(store.heads * store.rows);
    value_scale = carver.take<float>(store.heads * store.rows);
    key_sum = carver.take<int32_t>(store.heads * store.rows);
    bytes = carver.used();
  }
};

struct FloatRows {
  float *key, *value;  // [rows, width]
  size_t bytes;

  explicit FloatRows(const KeyValueStore& store) {
    Carver carver = Carver::shared(store.memory.address());  // with other layers'
    key = carver.take<float>(store.rows * store.width());
    value = carver.take<float>(store.rows * store.width());
    bytes = carver.used();
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
  int8_t* value;       // [columns / 4][value_dim / 16][16][4]
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

  // Columns c .. c + 3. Padding holds any row: its weight is zero.
  void gather(const GroupedAttention& a, const GroupExtents& e, const Int8Rows& rows,
              const GroupColumns& columns, size_t head, size_t c) const {
    const int8_t* values[kPanelDepth];
    for (size_t t = 0; t < kPanelDepth; ++t) {
      const int32_t row = columns.row[c + t];
      const size_t at = head * a.store.rows + (row < 0 ? 0 : row);
      mask[c + t] = row < 0 ? kMaskedScore : 0.0f;
      key_scale[c + t] = rows.key_scale[at];
      key_sum[c + t] = rows.key_sum[at];
      value_scale[c + t] = rows.value_scale[at];
      place_key(e, c + t, rows.key + at * e.padded_dim);
      values[t] = rows.value + at * e.padded_dim;
    }
    place_values(e, c, values);
  }

  PanelWeights keys(const GroupExtents& e, size_t columns) const {
    return {key, key_scale, key_sum, mask, columns, e.dim};
  }

 private:
  void place_key(const GroupExtents& e, size_t c, const int8_t* from) const {
    int8_t* to = key + c / kPanelOutputs * panel_bytes(e.dim) + c % kPanelOutputs * kPanelDepth;
    for (size_t k = 0; k < e.padded_dim; k += kPanelDepth, to += kPanelOutputs * kPanelDepth) {
      std::memcpy(to, from + k, kPanelDepth);
    }
  }

  void place_values(const GroupExtents& e, size_t c, const int8_t* const* from) const {
    int8_t* to = value + c / kPanelDepth * value_group_bytes(e.dim);
    size_t k = 0;
    for (; k + kPanelOutputs <= e.dim; k += kPanelOutputs, to += kPanelOutputs * kPanelDepth) {
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
