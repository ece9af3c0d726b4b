// What the products of all sets with dot product instructions share: where a tile's operands are, and the
// last panel. Everything is in an anonymous namespace: each file gets its own copy, and none is visible to
// the linker.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/gemm/gemm.h"

namespace lsrt {
namespace {

inline size_t packed_row_bytes(size_t depth) { return round_up(depth, 64); }

// Packed rows and panels, from the first of each on.
struct Product {
  const uint8_t* packed;
  size_t row_bytes;
  const RowScale* row_scale;
  const int8_t* weights;
  size_t panel_bytes;
  const int32_t* sum;
  const float* scale;
  const float* bias;  // null: none
  size_t groups;      // of 4 depth
  float* out;
  size_t ld;

  Product(const void* packed_rows, const RowScale* row_scales, const PanelWeights& w, size_t panel,
          float* outputs, size_t ld_out)
      : packed((const uint8_t*)packed_rows),
        row_bytes(packed_row_bytes(w.depth)),
        row_scale(row_scales),
        weights(w.data + panel * lsrt::panel_bytes(w.depth)),
        panel_bytes(lsrt::panel_bytes(w.depth)),
        sum(w.sum + panel * kPanelOutputs),
        scale(w.scale + panel * kPanelOutputs),
        bias(w.bias ? w.bias + panel * kPanelOutputs : nullptr),
        groups((w.depth + kPanelDepth - 1) / kPanelDepth),
        out(outputs),
        ld(ld_out) {}

  // The same from a later row or panel on.
  Product at(size_t row, size_t panel) const {
    const size_t n = panel * kPanelOutputs;
    Product p = *this;
    p.packed += row * row_bytes, p.row_scale += row;
    p.weights += panel * panel_bytes, p.sum += n, p.scale += n;
    if (bias) p.bias += n;
    p.out += row * ld + n;
    return p;
  }
};

// A panel of which only the first outputs exist: all_rows(product, rows) computes it whole into a buffer,
// because masked stores are slow.
template <typename AllRows>
inline void last_panel(const Product& p, size_t rows, size_t outputs, const AllRows& all_rows) {
  constexpr size_t kRows = 12;
  float bias[kPanelOutputs] = {}, buffer[kRows][kPanelOutputs];
  if (p.bias) memcpy(bias, p.bias, outputs * sizeof(float));
  for (size_t row = 0, some; row < rows; row += some) {
    some = rows - row < kRows ? rows - row : kRows;
    Product part = p.at(row, 0);
    part.bias = bias, part.out = buffer[0], part.ld = kPanelOutputs;
    all_rows(part, some);
    for (size_t r = 0; r < some; ++r) {
      float* out = p.out + (row + r) * p.ld;
      size_t n = 0;
      for (; n + 4 <= outputs; n += 4) memcpy(out + n, buffer[r] + n, 4 * sizeof(float));
      for (; n < outputs; ++n) out[n] = buffer[r][n];
    }
  }
}

}  // namespace
}  // namespace lsrt
