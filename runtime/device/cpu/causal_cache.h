// Key and value rows of one layer, for all heads, in the form that the kernels read.
//
// A cache is a ring of `capacity` rows (a multiple of 16): row t of the stream lies at t % capacity. Because
// panels hold 16 keys, row t always falls on lane t % 16, whatever part of the ring is read: sums over keys
// have one order.
#pragma once

#include <algorithm>

#include "runtime/device/cpu/cpu.h"

namespace lsrt {

// Int8, with a scale per (head, row) for keys and for values.
struct Int8Cache {
  size_t heads = 0, head_dim = 0, capacity = 0;
  int8_t* keys = nullptr;        // [heads] of panels: capacity keys x head_dim
  float* key_scale = nullptr;    // [heads, capacity]
  int32_t* key_sum = nullptr;    // [heads, capacity]
  int8_t* values = nullptr;      // [heads][capacity / 4][ceil(head_dim / 16)][16][4]
  float* value_scale = nullptr;  // [heads, capacity]

  void carve(Carver* carver, size_t n_heads, size_t dim, size_t rows) {
    heads = n_heads, head_dim = dim, capacity = round_up(rows, kPanelOutputs);
    keys = carver->take<int8_t>(heads * key_bytes());
    key_scale = carver->take<float>(heads * capacity);
    key_sum = carver->take<int32_t>(heads * capacity);
    values = carver->take<int8_t>(heads * value_bytes());
    value_scale = carver->take<float>(heads * capacity);
  }
  size_t key_bytes() const { return capacity / kPanelOutputs * panel_bytes(head_dim); }  // of a head
  size_t value_bytes() const { return capacity / kPanelDepth * value_group_bytes(head_dim); }

  // Keys [row, row + count) of a head as weights; row is a multiple of 16.
  PanelWeights key_panels(size_t head, size_t row, size_t count) const {
    return {keys + head * key_bytes() + row / kPanelOutputs * panel_bytes(head_dim),
            key_scale + head * capacity + row,
            key_sum + head * capacity + row,
            nullptr,
            count,
            head_dim};
  }
  const int8_t* value_rows(size_t head, size_t row) const {  // row is a multiple of 4
    return values + head * value_bytes() + row / kPanelDepth * value_group_bytes(head_dim);
  }
  // Quantizes one row of keys and values, each [heads * head_dim].
  void write(const RowKernels& kernels, size_t row, const float* key, const float* value);
  // One row of a head as it is, key and value [head_dim].
  void put(size_t head, size_t row, const int8_t* key, float key_scale_of, const int8_t* value,
           float value_scale_of);
  void get(size_t head, size_t row, int8_t* key, float* key_scale_of, int8_t* value,
           float* value_scale_of) const;
};

// Float32: keys and values [heads, capacity, head_dim].
struct FloatCache {
  size_t heads = 0, head_dim = 0, capacity = 0;
  float* keys = nullptr;
  float* values = nullptr;

  void carve(Carver* carver, size_t n_heads, size_t dim, size_t rows) {
    heads = n_heads, head_dim = dim, capacity = round_up(rows, kPanelOutputs);
    keys = carver->take<float>(heads * capacity * head_dim);
    values = carver->take<float>(heads * capacity * head_dim);
  }
  const float* key(size_t head, size_t row) const { return keys + (head * capacity + row) * head_dim; }
  const float* value(size_t head, size_t row) const { return values + (head * capacity + row) * head_dim; }
  float* key(size_t head, size_t row) { return keys + (head * capacity + row) * head_dim; }
  float* value(size_t head, size_t row) { return values + (head * capacity + row) * head_dim; }
  void write(const RowKernels& kernels, size_t row, const float* key, const float* value);
};

// Rows [begin, end) of a stream as at most two runs of a ring, oldest first.
struct RingRun {
  size_t row;  // in the ring
  size_t count;
  uint64_t first;  // in the stream
};
inline size_t ring_runs(uint64_t begin, uint64_t end, size_t capacity, RingRun runs[2]) {
  if (begin >= end) return 0;
  size_t row = begin % capacity, count = end - begin, head = std::min(count, capacity - row);
  runs[0] = {row, head, begin};
  if (head == count) return 1;
  runs[1] = {0, count - head, begin + head};
  return 2;
}

// Writes element k = 0 .. n of int8 `row` of a panel-packed matrix of width `depth`; returns the sum of the
// elements.
int32_t write_panel_row(const int8_t* source, size_t depth, size_t row, int8_t* panels);
void read_panel_row(const int8_t* panels, size_t depth, size_t row, int8_t* out);

}  // namespace lsrt
