// Which kernel serves a launch, and in what shape: known from the parameters' extents alone, never from a
// stream's position, so that a recorded sequence of launches can be repeated.
#pragma once

#include <stddef.h>

#include "kernels/cuda/params.h"

namespace lsrt {
namespace cuda {

enum class Kernel : uint32_t {
#define LSRT_CUDA_KERNEL(name, Params) name,
#include "kernels/cuda/kernels.inc"
#undef LSRT_CUDA_KERNEL
};

// In the module, by Kernel.
inline constexpr const char* kKernelNames[] = {
#define LSRT_CUDA_KERNEL(name, Params) "lsrt_" #name,
#include "kernels/cuda/kernels.inc"
#undef LSRT_CUDA_KERNEL
};
inline constexpr size_t kKernels = sizeof kKernelNames / sizeof *kKernelNames;

struct Launch {
  Kernel kernel;
  uint32_t grid[2];       // blocks
  uint32_t threads;       // of a block: whole warps
  uint32_t shared_bytes;  // dynamic, at most kMaxSharedBytes
};

// What every device gives a block without asking, less what kernels declare themselves.
constexpr uint32_t kMaxSharedBytes = 32 << 10;
// Rows of scores that do not fit there lie in device memory, for so many blocks, which then take several
// tasks.
constexpr uint32_t kScratchBlocks = 64;

constexpr uint32_t kWarp = 32;
constexpr uint32_t kHalfWarp = 16;   // the lanes of kernels/rows/rows.h
constexpr uint32_t kAttendTile = 4;  // queries of a block of attention

constexpr uint32_t ceil_div(uint64_t n, uint64_t by) { return static_cast<uint32_t>((n + by - 1) / by); }
constexpr uint32_t smaller(uint64_t a, uint64_t b) { return static_cast<uint32_t>(a < b ? a : b); }

// One item a thread; a block goes on where there are more than the grid holds.
inline Launch over_items(Kernel kernel, uint64_t items) {
  return {kernel, {smaller(ceil_div(items, 256), 1 << 16), 1}, 256, 0};
}
// A half warp a row.
inline Launch over_half_warps(Kernel kernel, uint32_t rows) {
  const uint32_t threads = rows <= 2 ? kWarp : 4 * kWarp;
  return {kernel, {ceil_div(rows, threads / kHalfWarp), 1}, threads, 0};
}

inline Launch launch_of(const NormParams& p) { return over_half_warps(Kernel::norm, p.rows); }
inline Launch launch_of(const EmbedParams& p) {
  return over_items(Kernel::embed, uint64_t{p.rows} * p.width);
}
inline Launch launch_of(const AddParams& p) { return over_items(Kernel::add, p.n); }
inline Launch launch_of(const MeanRowsParams& p) { return over_items(Kernel::mean_rows, p.width); }
inline Launch launch_of(const CompareParams& p) { return over_items(Kernel::compare, p.width); }
inline Launch launch_of(const LogSoftmaxParams& p) { return {Kernel::log_softmax, {p.rows, 1}, 256, 0}; }
inline Launch launch_of(const ChooseParams& p) {  // one block
  return {Kernel::choose, {1, 1}, smaller(kChooseThreads, round_up(p.vocabulary, kWarp)), 0};
}
inline Launch launch_of(const QuantizeParams& p) { return over_half_warps(Kernel::quantize, p.rows); }

// A block makes 16 x 32 or 64 x 128 outputs: few rows spread over many blocks.
inline Launch launch_of(const ProductParams& p) {
  if (p.rows <= 32)
    return {Kernel::product_16, {ceil_div(p.weights.outputs, 32), ceil_div(p.rows, 16)}, kWarp, 0};
  return {Kernel::product_64, {ceil_div(p.weights.outputs, 128), ceil_div(p.rows, 64)}, 4 * kWarp, 0};
}
// A block makes one panel.
inline Launch launch_of(const GemvParams& p) {
  return {Kernel::gemv,
          {ceil_div(p.weights.outputs, kPanelOutputs), 1},
          4 * kWarp,
          (p.weights.depth + 63) / 64 * 64};
}
inline Launch launch_of(const FloatLinearParams& p) {
  return over_items(Kernel::float_linear, uint64_t{p.rows} * p.outputs);
}

inline Launch launch_of(const CausalStoreParams& p) {
  return {Kernel::causal_store, {p.rows, 1}, 4 * kWarp, 0};
}
inline Launch launch_of(const CausalCompressParams& p) {
  return {Kernel::causal_compress, {p.completed * p.extents.rank, 1}, 4 * kWarp, 0};
}
// Floats of CausalCompressParams::scratch of each summary: weights of all heads, then a key and a value.
constexpr uint64_t compress_scratch_floats(const CausalExtents& e) {
  return uint64_t{e.heads} * e.chunk + 2 * uint64_t{e.heads} * e.head_dim;
}

// Scores of a query of causal attention, at most: up to four runs of keys, each of which may begin and end
// inside a panel.
constexpr uint64_t causal_run_columns(uint64_t keys) {
  return round_up(keys, kPanelOutputs) + 8 * kPanelOutputs;
}
constexpr uint64_t causal_columns(const CausalExtents& e, uint32_t tile) {
  const uint64_t summaries = (uint64_t{e.memory} + e.block) / e.chunk * e.rank;
  return (e.rank ? causal_run_columns(summaries) : 0) +
         (e.window ? causal_run_columns(uint64_t{e.window} + tile - 1) : 0);
}
constexpr uint32_t attend_tile(uint32_t queries) { return smaller(queries, kAttendTile); }

// Shared bytes and blocks of attention whose block needs `bytes` and has `tasks` to do.
struct AttendShape {
  uint32_t blocks, shared;
  uint64_t scratch;
};
constexpr AttendShape attend_shape(uint64_t tasks, uint64_t bytes) {
  if (bytes <= kMaxSharedBytes) {
    return {smaller(tasks, 1u << 30), static_cast<uint32_t>(bytes), 0};
  }
  const uint32_t blocks = smaller(tasks, kScratchBlocks);
  return {blocks, 0, blocks * bytes};
}
constexpr AttendShape attend_shape(const CausalAttendParams& p) {
  const uint32_t tile = attend_tile(p.rows);
  return attend_shape(uint64_t{p.extents.heads} * ceil_div(p.rows, tile),
                      tile * causal_columns(p.extents, tile) * sizeof(float));
}
constexpr uint64_t attend_scratch_bytes(const CausalAttendParams& p) { return attend_shape(p).scratch; }
inline Launch launch_of(const CausalAttendParams& p) {
  const AttendShape shape = attend_shape(p);
  return {p.window.key_scale || p.block.key_scale ? Kernel::causal_attend : Kernel::causal_attend_float,
          {shape.blocks, 1},
          p.rows == 1 ? 8 * kWarp : 4 * kWarp,
          shape.shared};
}
inline Launch launch_of(const CausalExchangeParams& p) {
  return over_items(Kernel::causal_exchange, uint64_t{p.count} * p.heads * p.head_dim);
}

inline Launch launch_of(const StoreRowsParams& p) {
  return over_half_warps(Kernel::store_rows, p.rows * p.store.heads);
}
// A block lists the group's keys (its row, its place among the biases) and has a row of scores a query.
constexpr uint64_t grouped_columns(const GroupedAttendParams& p) {
  return round_up(uint64_t{p.group_keys} + p.globals, kPanelOutputs);
}
constexpr AttendShape attend_shape(const GroupedAttendParams& p) {
  const uint32_t tile = attend_tile(p.group_queries);
  return attend_shape(uint64_t{p.heads} * p.groups * ceil_div(p.group_queries, tile),
                      grouped_columns(p) * (2 * sizeof(int32_t) + tile * sizeof(float)));
}
constexpr uint64_t attend_scratch_bytes(const GroupedAttendParams& p) { return attend_shape(p).scratch; }
inline Launch launch_of(const GroupedAttendParams& p) {
  const AttendShape shape = attend_shape(p);
  return {p.store.key_scale ? Kernel::grouped_attend : Kernel::grouped_attend_float,
          {shape.blocks, 1},
          4 * kWarp,
          shape.shared};
}

// Floats of LandmarkSumsParams::partial.
constexpr uint64_t landmark_floats(const LandmarkSumsParams& p) {
  return ceil_div(p.rows, kLandmarkRows) * uint64_t{p.heads} * p.rank * (2 + 2 * uint64_t{p.head_dim});
}
inline Launch launch_of(const LandmarkSumsParams& p) {
  return {Kernel::landmark_sums, {ceil_div(p.rows, kLandmarkRows), p.heads}, 4 * kWarp, 0};
}
inline Launch launch_of(const LandmarkJoinParams& p) {
  return {Kernel::landmark_join, {p.rank, p.heads}, 2 * kWarp, 0};
}
inline Launch launch_of(const ClsAttendParams& p) { return {Kernel::cls_attend, {p.heads, 1}, 8 * kWarp, 0}; }
inline Launch launch_of(const ConvolutionParams& p) {
  return over_items(Kernel::convolution, uint64_t{p.rows} * p.heads * p.head_dim);
}
inline Launch launch_of(const PatchesParams& p) {
  return over_items(Kernel::patches, uint64_t{p.grid} * p.grid * p.channels * p.patch * p.patch);
}

inline Launch launch_of(const ScanConvolveParams& p) {
  return over_items(Kernel::scan_convolve, uint64_t{p.rows} * p.channels);
}
inline Launch launch_of(const ScanHistoryParams& p) { return over_items(Kernel::scan_history, p.channels); }
inline Launch launch_of(const SelectiveScanParams& p) {
  return {Kernel::selective_scan, {ceil_div(p.channels, 64), 1}, 64, 0};
}
inline Launch launch_of(const DualStepsParams& p) {
  return over_items(Kernel::dual_steps, uint64_t{p.rows} * p.heads);
}
inline Launch launch_of(const DualScanParams& p) {
  return over_half_warps(Kernel::dual_scan, p.heads * p.head_dim);
}
inline Launch launch_of(const GatedNormParams& p) {
  return over_half_warps(Kernel::gated_norm, p.rows * p.groups);
}

// Of one spectrum.
constexpr uint64_t filter_sums(uint64_t grid, uint64_t width) { return grid * (grid / 2 + 1) * width; }
inline Launch launch_of(const FilterForwardParams& p) {
  return over_items(Kernel::filter_forward, filter_sums(p.grid, p.width));
}
inline Launch launch_of(const FilterColumnsParams& p) {
  return over_items(Kernel::filter_columns, filter_sums(p.grid, p.width));
}
inline Launch launch_of(const FilterBackParams& p) {
  return over_items(Kernel::filter_back, uint64_t{p.grid} * p.grid * p.width);
}

}  // namespace cuda
}  // namespace lsrt
