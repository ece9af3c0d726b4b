// What each launch on a CUDA device takes, by value: plain words, shared by the host and the kernels.
// Addresses are of the device's memory. Meanings and shapes are those of runtime/device/ops_*.h.
#pragma once

#include <stdint.h>

#include "kernels/gemm/gemm.h"

namespace lsrt {
namespace cuda {

enum class Activate : uint32_t { kNone = 0, kRelu = 1, kGelu = 2 };

struct Norm {
  const float* gamma;  // null: ones (rms)
  const float* beta;
  float eps;  // 0: no norm, rows stay as they are
  uint32_t rms;
};

// v = x + residual (unless null); sum = v (unless null); y = norm(v). sum and y may be x.
struct NormParams {
  Norm norm;
  const float *x, *residual;
  float *sum, *y;
  uint64_t x_stride, residual_stride, sum_stride, y_stride;
  uint32_t width, rows;
};

struct EmbedParams {
  const void* table;    // int8 panels (scale not null), or float rows
  const float* scales;  // [vocabulary]
  const int32_t* tokens;
  const float* positions;  // [rows, width] or null
  float* y;
  float scale;
  uint32_t width, rows;
};

struct AddParams {  // y[n] += x[n]
  const float* x;
  float* y;
  uint64_t n;
};

struct MeanRowsParams {
  const float* x;
  float* out;
  float divisor;
  uint32_t rows, width;
};

struct CompareParams {
  const float* features;
  float* out;
  uint32_t width;
};

struct LogSoftmaxParams {
  float* x;
  uint32_t width, rows;
};

struct ChooseParams {
  const float* logprobs;     // [vocabulary]
  const uint8_t* with_text;  // [vocabulary]
  const int32_t* penalized;  // [penalized_count]: distinct
  uint64_t* scratch;         // [2, vocabulary]
  int32_t* token;
  double uniform;
  float temperature, top_p, min_p, repeat_penalty;
  uint32_t top_k, vocabulary, penalized_count;
};
constexpr uint32_t kChooseThreads = 1024;  // at most

// PanelWeights of kernels/gemm/gemm.h.
struct Panels {
  const int8_t* data;
  const float* scale;
  const int32_t* sum;
  const float* bias;  // or null
  uint32_t outputs, depth;
};

// Rows to int8 for a product: q[rows][round_up(depth, 64)], zero from depth on.
struct QuantizeParams {
  const float* x;
  int8_t* q;
  RowScale* row_scale;
  uint32_t rows, depth;
};

// y[rows, outputs] = activation(product of quantized rows).
struct ProductParams {
  Panels weights;
  const int8_t* q;
  const RowScale* row_scale;
  float* y;
  uint32_t rows;
  Activate activation;
};

// The same of one float row, which each block quantizes for itself; depth is at most kMaxGemvDepth.
struct GemvParams {
  Panels weights;
  const float* x;
  float* y;
  Activate activation;
};
constexpr uint32_t kMaxGemvDepth = 32768;

// Float weights [outputs, inputs]; each output a dot product of kernels/rows/rows.h.
struct FloatLinearParams {
  const float *weight, *bias, *x;  // bias may be null
  float* y;
  uint32_t rows, inputs, outputs;
  Activate activation;
};

// ---- causal long-short attention --------------------------------------------------------------------------------------

// Keys and values of all heads: a ring of `capacity` rows, row t at t % capacity. Int8 (key_scale not null):
//   keys         [heads][capacity / 16] panels of head_dim; values [heads][capacity / 4][ceil(head_dim /
//   16)][16][4] scales, sums [heads, capacity]; capacity is a multiple of 16
// Float: keys and values [heads, capacity, head_dim]. values may be null: a table of positions.
struct Cache {
  void *keys, *values;
  float *key_scale, *value_scale;
  int32_t* key_sum;
  uint32_t capacity;
};

// Rows of a table of positions, [heads, rows, head_dim]: panels if scales is not null.
struct Positions {
  const void* data;
  const float* scales;  // [heads, round_up(rows, 16)]
  const int32_t* sums;
  uint32_t rows;
};

struct CausalExtents {
  uint32_t heads, head_dim, window, chunk, rank, block, memory, max_rows;
};

// Stores rows i = 0 .. rows - 1: norm of key and value, into row (position / divide * times + i) % capacity
// of the cache. Where pending_x is not null, it keeps the rows of the chunk that is unfinished after them,
// too: with p = position % chunk, row i becomes pending row p + i - (p + rows) / chunk * chunk, if that is
// not negative.
struct CausalStoreParams {
  Cache cache;  // keys null: only pending rows
  Norm norm;
  const uint64_t* position;       // null: 0
  const float *key, *value;       // rows, key_stride floats apart; value may be null
  const float* x;                 // [rows, heads * head_dim], of pending_x
  float *pending_x, *pending_kv;  // pending_kv: key, value and chunk weights, which lie behind each other
  uint64_t stride;
  uint32_t divide, times;
  uint32_t rows, heads, head_dim, chunk, rank;
};

// Summaries of the chunks that a step completes, into cache.block and compressed. Before the store, which
// overwrites what is pending.
struct CausalCompressParams {
  CausalExtents extents;
  Cache block;
  Norm norm;
  const uint64_t* position;
  const float *x, *qkv;  // of the step's rows
  const float *pending_x, *pending_kv;
  float* compressed;  // [completed * rank, width]
  float* scratch;     // [completed * rank, compress_scratch_floats]
  uint32_t completed;
};

struct CausalAttendParams {
  CausalExtents extents;
  Cache window, memory, block, zero_window, zero_summary;
  Positions window_positions, chunk_positions;
  const float *content_bias, *position_bias;  // [heads, head_dim]
  const uint64_t* position;
  const float* qkv;  // [rows, 3 width + heads * rank]
  float* y;          // [rows, width]
  void* scratch;     // attend_scratch_bytes, or null where that is 0
  uint32_t rows;
};

// Rows of one part of an exchanged state (runtime/device/causal_exchange.h), from or into a cache.
struct CausalExchangeParams {
  Cache cache;
  uint64_t first;  // row of the stream
  void *keys, *values;
  float *key_scales, *value_scales;  // int8 only
  uint32_t count, heads, head_dim;
  uint32_t into_cache;
};

// ---- grouped attention ------------------------------------------------------------------------------------------------

// Int8 (key_scale not null): keys and values [heads, rows, round_up(head_dim, 4)], zero from head_dim on,
// scales and sums [heads, rows]. Float: [rows, heads * head_dim].
struct Store {
  void *keys, *values;
  float *key_scale, *value_scale;
  int32_t* key_sum;
  uint32_t rows, heads, head_dim;
};

struct StoreRowsParams {
  Store store;
  const float *key, *value;
  uint64_t stride;
  uint32_t first, rows;
};

struct GroupedAttendParams {
  Store store;
  const float* query;
  const int32_t *query_rows, *key_rows, *bias_offsets;
  const float* bias;  // or null
  float* out;
  void* scratch;  // attend_scratch_bytes, or null where that is 0
  uint64_t query_stride, out_stride, bias_stride;
  uint32_t bias_run, global_first, globals, groups, group_queries, group_keys;
  uint32_t first_head, heads;  // that attend
};

constexpr uint32_t kLandmarkRows = 64;  // of one block, whose sums are taken alone: Landmarks::kRowBlock

// The landmarks of each block of rows by itself. `partial` is [blocks, heads, rank] of largest, then of
// total, then [blocks, heads, rank, 2 head_dim] of sums.
struct LandmarkSumsParams {
  const float *score, *key, *value;
  float* partial;
  uint64_t stride;
  uint32_t heads, head_dim, rank, rows;
};

struct LandmarkJoinParams {
  const float* partial;
  float *running, *out_key, *out_value;
  uint32_t heads, head_dim, rank, rows;
  uint32_t first;
};

struct ClsAttendParams {
  const float *query, *key, *value, *x;
  float* weights;  // [heads, rows + 1]
  float* out;
  uint64_t stride;
  uint32_t heads, head_dim, rows;
};

struct ConvolutionParams {
  const float *weight, *value;
  const int32_t *row_at, *position_of;
  float* out;
  uint32_t heads, head_dim, kernel, positions, first, rows;
};

struct PatchesParams {
  const float* data;
  float* patches;
  uint32_t channels, grid, patch;
  uint32_t rows_layout;  // 0: planes
};

// ---- selective state spaces -------------------------------------------------------------------------------------------

// Before the history is moved on by ScanHistory.
struct ScanConvolveParams {
  const float *x, *weight, *bias, *history;
  float* y;
  uint64_t x_stride;
  uint32_t rows, channels, taps;
};

struct ScanHistoryParams {
  const float* x;
  float* history;
  uint64_t x_stride;
  uint32_t rows, channels, taps;
};

struct SelectiveScanParams {
  const float *v, *step, *z, *b, *c, *a, *d;
  float *state, *y;
  uint64_t z_stride, parameter_stride;
  uint32_t rows, channels, states;
};

struct DualStepsParams {
  const float *step, *bias, *a;
  float* steps;  // [2, rows, heads]
  uint64_t step_stride;
  float low, high;
  uint32_t rows, heads;
};

struct DualScanParams {
  const float *v, *b, *c, *d, *steps;
  float *state, *y;
  uint64_t stride;
  uint32_t d_per_channel;
  uint32_t rows, heads, groups, head_dim, states;
};

struct GatedNormParams {
  Norm norm;
  const float* z;
  float* y;
  uint64_t z_stride;
  uint32_t rows, width, groups;
};

// ---- filters of a grid ------------------------------------------------------------------------------------------------

// Spectra are [grid, frequencies, 2, width].
struct FilterForwardParams {
  const float *x, *cosines, *sines;
  float* spectrum;
  uint32_t grid, width;
};

struct FilterColumnsParams {
  const float *spectrum, *kernel;
  float* product;
  uint32_t grid, width;
};

struct FilterBackParams {
  const float *product, *cosines, *sines;
  float* y;
  uint32_t grid, width;
};

}  // namespace cuda
}  // namespace lsrt
