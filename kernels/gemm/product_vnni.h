// The int8 matrix product with vpdpbusd, for registers of any width. Packed row: the bytes q + 128, unsigned
// as vpdpbusd wants them; sums start at -(128 + zero_point) times the sums of the weights, which takes the
// offset out again.
//
// V extends a vector type of simd/vec_*.h by what integers need and says which tiles its registers allow, and
// kPrefetchBytes: few rows get their weights from memory, which are fetched so far ahead (0: as the CPU does);
// kTilePrefetchBytes: the same of more rows, which get them from L2.
// Everything is in an anonymous namespace: each file gets its own copy, and none is visible to the linker.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/gemm/product.h"

namespace lsrt {
namespace {

// Scale and zero point of gemm.h for kRows rows, ld floats apart: side by side, so that none waits for its
// own folds and divisions.
template <typename V, size_t kRows>
inline __attribute__((always_inline)) void row_scales_of(const float* x, size_t ld, size_t depth,
                                                         RowScale* row_scale) {
  typename V::Floats lo[kRows], hi[kRows];
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) lo[r] = hi[r] = V::set(0.0f);
  const auto take = [&](size_t k, auto load) {
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) {
      const typename V::Floats v = load(x + r * ld + k);
      lo[r] = V::min(v, lo[r]);
      hi[r] = V::max(v, hi[r]);
    }
  };
  size_t k = 0;
  for (; k + V::kWidth <= depth; k += V::kWidth) take(k, [](const float* p) { return V::load(p); });
  if (k < depth) take(k, [&](const float* p) { return V::load_first(p, depth - k); });
#pragma GCC unroll 4
  for (size_t r = 0; r < kRows; ++r) {
    const float low = V::fold_min(lo[r]), high = V::fold_max(hi[r]);
    float scale = (high - low) / 255.0f;
    scale = scale >= 0x1p-126f && scale <= 0x1.fffffep+127f ? scale : 1.0f;
    float zero_point = -128.0f - low / scale;
    zero_point = zero_point > -128.0f ? zero_point : -128.0f;
    zero_point = zero_point < 127.0f ? zero_point : 127.0f;
    row_scale[r] = {scale, (int32_t)__builtin_rintf(zero_point)};
  }
}

// One packed row.
template <typename V>
void quantize_row(const float* x, size_t depth, RowScale s, uint8_t* q) {
  const typename V::Floats inverse = V::set(1.0f / s.scale);
  // Clamping to these integers before rounding gives the same q and keeps the conversion in range.
  const typename V::Floats lowest = V::set((float)(-128 - s.zero_point));
  const typename V::Floats highest = V::set((float)(127 - s.zero_point));
  const typename V::Ints offset = V::set_int(128 + s.zero_point);
  const auto store = [&](size_t k, auto load) {
    typename V::Ints bytes[4];
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) {
      const typename V::Floats v = V::mul(load(k + j * V::kWidth), inverse);
      bytes[j] = V::add_int(V::round(V::min(V::max(v, lowest), highest)), offset);
    }
    V::store_unsigned(q + k, bytes);
  };
  size_t k = 0;
  for (; k + 4 * V::kWidth <= depth; k += 4 * V::kWidth) store(k, [&](size_t at) { return V::load(x + at); });
  if (k < depth) {  // the weights behind the last input are zero
    store(k, [&](size_t at) { return V::load_first(x + at, at < depth ? depth - at : 0); });
  }
}

template <typename V>
void pack_rows(const float* x, size_t ld, size_t rows, size_t depth, void* packed, RowScale* row_scale) {
  uint8_t* q = (uint8_t*)packed;
  for (size_t row = 0, some; row < rows; row += some) {
    some = rows - row >= 4 ? 4 : 1;
    if (some == 4) {
      row_scales_of<V, 4>(x + row * ld, ld, depth, row_scale + row);
    } else {
      row_scales_of<V, 1>(x + row * ld, ld, depth, row_scale + row);
    }
    for (size_t r = row; r < row + some; ++r, q += packed_row_bytes(depth))
      quantize_row<V>(x + r * ld, depth, row_scale[r], q);
  }
}

// kPanels whole panels of kRows rows.
template <typename V, size_t kRows, size_t kPanels>
void tile(const Product& p) {
  constexpr size_t kParts = kPanelOutputs / V::kWidth, kRegisters = kPanels * kParts;
  typename V::Ints acc[kRows][kRegisters];
#pragma GCC unroll 12
  for (size_t r = 0; r < kRows; ++r) {
    const typename V::Ints offset = V::set_int(-128 - p.row_scale[r].zero_point);
#pragma GCC unroll 8
    for (size_t j = 0; j < kRegisters; ++j)
      acc[r][j] = V::mul_int(offset, V::load_int(p.sum + j * V::kWidth));
  }
  const uint8_t* a = p.packed;
  const int8_t* w = p.weights;
  for (size_t g = 0; g < p.groups; ++g, a += kPanelDepth, w += kPanelOutputs * kPanelDepth) {
    typename V::Ints in[kRegisters];
#pragma GCC unroll 8
    for (size_t j = 0; j < kRegisters; ++j) {
      // A group is one cache line of each panel; the weights of a tile come from L2.
      if (V::kTilePrefetchBytes > 0 && j % kParts == 0)
        __builtin_prefetch(w + j / kParts * p.panel_bytes + V::kTilePrefetchBytes);
      in[j] = V::load_int((const int32_t*)(w + j / kParts * p.panel_bytes) + j % kParts * V::kWidth);
    }
#pragma GCC unroll 12
    for (size_t r = 0; r < kRows; ++r) {
      int32_t four;
      memcpy(&four, a + r * p.row_bytes, sizeof four);
      const typename V::Ints x = V::set_int(four);
#pragma GCC unroll 8
      for (size_t j = 0; j < kRegisters; ++j) V::add_dot(acc[r][j], x, in[j]);
    }
  }
#pragma GCC unroll 8
  for (size_t j = 0; j < kRegisters; ++j) {
    const typename V::Floats scale = V::load(p.scale + j * V::kWidth);
    const typename V::Floats bias = p.bias ? V::load(p.bias + j * V::kWidth) : V::set(0.0f);
#pragma GCC unroll 12
    for (size_t r = 0; r < kRows; ++r) {
      const typename V::Floats row_scale = V::mul(V::set(p.row_scale[r].scale), scale);
      V::store(p.out + r * p.ld + j * V::kWidth, V::add(V::mul(V::to_float(acc[r][j]), row_scale), bias));
    }
  }
}

// The tile of the given number of rows, at most kRows.
template <typename V, size_t kPanels, size_t kRows = V::tile_rows(kPanels)>
void tile_of(size_t rows, const Product& p) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return tile_of<V, kPanels, kRows - 1>(rows, p);
  }
  tile<V, kRows, kPanels>(p);
}

// All rows of kPanels panels, in tiles of about the same size.
template <typename V, size_t kPanels>
void all_rows(const Product& p, size_t rows) {
  for (size_t row = 0, tiles = (rows + V::tile_rows(kPanels) - 1) / V::tile_rows(kPanels); tiles > 0;
       --tiles) {
    const size_t some = (rows - row + tiles - 1) / tiles;
    tile_of<V, kPanels>(some, p.at(row, 0));
    row += some;
  }
}

// One panel of few rows: kSplit sums of a row take turns, so that panels are read one after the other, as
// they lie in memory, and no sum waits for itself.
template <typename V, size_t kRows, size_t kSplit>
inline __attribute__((always_inline)) void sweep_panel(const Product& p) {
  constexpr size_t kParts = kPanelOutputs / V::kWidth;
  typename V::Ints acc[kSplit][kRows][kParts];
#pragma GCC unroll 4
  for (size_t s = 0; s < kSplit; ++s) {
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (size_t j = 0; j < kParts; ++j) acc[s][r][j] = V::set_int(0);
    }
  }
  const uint8_t* a = p.packed;
  const int8_t* w = p.weights;
  const auto add_group = [&](typename V::Ints(&sum)[kRows][kParts], const uint8_t* bytes,
                             const int8_t* weights) {
#pragma GCC unroll 2
    for (size_t j = 0; j < kParts; ++j) {
      const typename V::Ints in = V::load_int((const int32_t*)weights + j * V::kWidth);
#pragma GCC unroll 4
      for (size_t r = 0; r < kRows; ++r) {
        int32_t four;
        memcpy(&four, bytes + r * p.row_bytes, sizeof four);
        V::add_dot(sum[r][j], V::set_int(four), in);
      }
    }
  };
  size_t g = 0;
  for (; g + kSplit <= p.groups; g += kSplit) {
#pragma GCC unroll 4
    for (size_t s = 0; s < kSplit; ++s) {
      if constexpr (V::kPrefetchBytes > 0)
        __builtin_prefetch(w + (g + s) * kPanelOutputs * kPanelDepth + V::kPrefetchBytes);
      add_group(acc[s], a + (g + s) * kPanelDepth, w + (g + s) * kPanelOutputs * kPanelDepth);
    }
  }
  for (; g < p.groups; ++g) add_group(acc[0], a + g * kPanelDepth, w + g * kPanelOutputs * kPanelDepth);
#pragma GCC unroll 2
  for (size_t j = 0; j < kParts; ++j) {
    const typename V::Ints sums = V::load_int(p.sum + j * V::kWidth);
    const typename V::Floats scale = V::load(p.scale + j * V::kWidth);
    const typename V::Floats bias = p.bias ? V::load(p.bias + j * V::kWidth) : V::set(0.0f);
#pragma GCC unroll 4
    for (size_t r = 0; r < kRows; ++r) {
      typename V::Ints sum = V::mul_int(V::set_int(-128 - p.row_scale[r].zero_point), sums);
#pragma GCC unroll 4
      for (size_t s = 0; s < kSplit; ++s) sum = V::add_int(sum, acc[s][r][j]);
      const typename V::Floats row_scale = V::mul(V::set(p.row_scale[r].scale), scale);
      V::store(p.out + r * p.ld + j * V::kWidth, V::add(V::mul(V::to_float(sum), row_scale), bias));
    }
  }
}

template <typename V, size_t kRows, size_t kSplit>
void sweep(const Product& p, size_t panels) {
  for (size_t panel = 0; panel < panels; ++panel) sweep_panel<V, kRows, kSplit>(p.at(0, panel));
}

template <typename V>
void gemm(const void* packed, const RowScale* row_scale, size_t rows, const PanelWeights& weights,
          size_t panel_begin, size_t panel_end, float* out, size_t ld) {
  Product p(packed, row_scale, weights, panel_begin, out, ld);
  const size_t whole = weights.outputs / kPanelOutputs, most = V::tile_panels(rows);
  size_t left = (panel_end < whole ? panel_end : whole) - panel_begin;
  if (rows <= 2) {
    rows == 1 ? sweep<V, 1, 4>(p, left) : sweep<V, 2, 2>(p, left);
    p = p.at(0, left);
    left = 0;
  }
  while (left > 0) {
    // A few more than fit one tile are halved: one panel alone is the slowest.
    const size_t panels = left <= most ? left : left < 2 * most ? (left + 1) / 2 : most;
    switch (panels) {
      case 1:
        all_rows<V, 1>(p, rows);
        break;
      case 2:
        all_rows<V, 2>(p, rows);
        break;
      case 3:
        if constexpr (V::kMostPanels >= 3) all_rows<V, 3>(p, rows);
        break;
      case 4:
        if constexpr (V::kMostPanels >= 4) all_rows<V, 4>(p, rows);
        break;
    }
    p = p.at(0, panels);
    left -= panels;
  }
  if (panel_end > whole) {
    last_panel(p, rows, weights.outputs % kPanelOutputs,
               [](const Product& part, size_t some) { all_rows<V, 1>(part, some); });
  }
}

}  // namespace
}  // namespace lsrt
