// Dense int8 matrix products: float rows are quantized per row (asymmetric, 8 bits), weights are int8 per
// output channel in the layout of the model file. The same meaning as XNNPACK's qd8-f32-qc8w.
//
//   row i:     lo = min(0, min_k x), hi = max(0, max_k x); scale = (hi - lo) / 255 (1 if that is not a normal
//   number);
//              zero_point = clamp(round(-128 - lo / scale), -128, 127);
//              q[k] = clamp(round(x[k] * (1 / scale)) + zero_point, -128, 127)
//   output:    out[i][n] = float(sum_k (q[k] - zero_point) * w[n][k]) * (scale * w_scale[n]) + bias[n]
//
// round = to nearest even; the sum is exact in int32 (depth <= kMaxGemmDepth); float operations happen
// exactly in the order written, none fused; no bias = a bias of +0. Hence every kernel set returns the same
// bits, however rows are grouped. A NaN input is ignored by lo and hi and becomes q = -128.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace lsrt {

// Functions here are static: a weak copy compiled for one instruction set must never serve the callers of
// another.
inline constexpr size_t kPanelOutputs = 16;  // output channels of one panel
inline constexpr size_t kPanelDepth = 4;     // consecutive inputs of one channel stored together
inline constexpr size_t kPanelGroupBytes = kPanelOutputs * kPanelDepth;
inline constexpr size_t kMaxGemmDepth = 65536;  // 255 * 127 * 65536 < 2^31

static inline constexpr size_t round_up(size_t n, size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// Int8 weights in panels: [ceil(outputs/16)][ceil(depth/4)][16][4], zero where outputs or depth are padded.
// The layout suits vpdpbusd, vpmaddwd, sdot and smmla alike, so the model file does not depend on the CPU.
struct PanelWeights {
  const int8_t* data;  // 64-byte aligned
  const float* scale;  // [round_up(outputs, 16)], padding is zero
  const int32_t* sum;  // [round_up(outputs, 16)], sum_k w[n][k]
  const float* bias;   // [outputs] or null
  size_t outputs;
  size_t depth;
};

static inline constexpr size_t panel_bytes(size_t depth) {
  return kPanelOutputs * round_up(depth, kPanelDepth);
}
static inline constexpr size_t panel_count(size_t outputs) {
  return (outputs + kPanelOutputs - 1) / kPanelOutputs;
}
// Where w[n][k] lies in PanelWeights::data. The next kPanelDepth inputs of a channel are kPanelGroupBytes on.
static inline constexpr size_t panel_offset(size_t n, size_t k, size_t depth) {
  return n / kPanelOutputs * panel_bytes(depth) +
         (k / kPanelDepth * kPanelOutputs + n % kPanelOutputs) * kPanelDepth + k % kPanelDepth;
}

struct RowScale {
  float scale;
  int32_t zero_point;
};

struct GemmKernels {
  // Bytes of one packed row of `depth` inputs: a multiple of 64. The packed format is private to the kernel
  // set.
  size_t (*packed_row_bytes)(size_t depth);

  // Packed rows are independent: gemm may be given any run of them, at a multiple of packed_row_bytes.
  // Quantizes rows x[rows][depth] (row stride ld floats) into packed[rows] (64-byte aligned) and
  // row_scale[rows].
  void (*pack_rows)(const float* x, size_t ld, size_t rows, size_t depth, void* packed, RowScale* row_scale);

  // out[rows][16 * (panel_end - panel_begin)] (row stride ld floats): the outputs of panels panel_begin ..
  // panel_end - 1. out points at the first of these outputs; nothing past weights.outputs is written.
  void (*gemm)(const void* packed, const RowScale* row_scale, size_t rows, const PanelWeights& weights,
               size_t panel_begin, size_t panel_end, float* out, size_t ld);
};

}  // namespace lsrt
