// Weighted sums of rows. Keys need no kernel of their own: a key cache is PanelWeights with one output
// channel per key, so attention scores are a small gemm.
//
// A value cache holds, for one head of width d_head (a multiple of 16 is fastest, any works), rows in groups
// of four:
//   values[capacity/4][ceil(d_head/16)][16][4]: byte [t / 4][e / 16][e % 16][t % 4] = element e of row t
// so that the rows of a range are one piece of memory. capacity is a multiple of 4.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/gemm/gemm.h"

namespace lsrt {

static inline constexpr size_t value_group_bytes(size_t d_head) {  // of four rows
  return round_up(d_head, kPanelOutputs) * kPanelDepth;
}

// The arguments of weighted_sum as kernels pass them on; groups of four rows are group_bytes apart.
struct Sums {
  const uint16_t* weight;
  size_t ld_weight;
  const int8_t* values;
  size_t groups, group_bytes;
  int32_t* acc;
  size_t ld_acc;
};

struct AttentionKernels {
  // acc[i][e] += sum_t weight[i][t] * values[t][e]  for i < rows, e < d_head, t < count. Exact.
  // | weight | [rows][ld_weight], 0 .. kSoftmaxWeightMax (rows.h); rows need not be aligned           |
  // | values | the group of row t = 0, 64-byte aligned                                                 |
  // | count  | a multiple of 4                                                                         |
  // | acc    | [rows][ld_acc] int32, ld_acc >= round_up(d_head, 16); padding elements may be written   |
  void (*weighted_sum)(const uint16_t* weight, size_t ld_weight, size_t rows, const int8_t* values,
                       size_t count, size_t d_head, int32_t* acc, size_t ld_acc);

  // The same of float rows: out[j][k] = sum_t weight[t][j] * x[t][k] for j < n, k < d, t < rows, by fma in
  // ascending order of t from 0. Rows are ld_weight, ld_x and ld_out apart.
  void (*weighted_rows)(const float* weight, size_t ld_weight, const float* x, size_t ld_x, size_t rows,
                        size_t n, size_t d, float* out, size_t ld_out);
};

}  // namespace lsrt
