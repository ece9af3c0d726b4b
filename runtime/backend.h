// What a device does for the models' code. A backend prepares weights once, owns device memory, and runs
// launches: plain functions over device pointers, executed in order on a Stream. Launches never fail and
// never allocate; a device error sticks to the stream and comes back from synchronize(). The models' code
// never dereferences device memory and calls no kernel but through this interface, so that a backend may put
// memory and work where it likes.
//
// Rows are float32 and contiguous. All results are independent of the number of threads and of how
// rows are grouped into launches; in int8 models, to the last bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "runtime/model.h"
#include "runtime/status.h"

namespace lsrt {

// A linear layer ready to run; owned by the backend that prepared it.
class Linear {
 public:
  virtual ~Linear() = default;
  size_t outputs = 0, inputs = 0;
};

// An ordered queue of launches with the threads (or device queue) and workspace that they use. One thread at
// a time.
class Stream {
 public:
  virtual ~Stream() = default;
};

// ---- causal long-short attention (spec section 1)
// -------------------------------------------------------------------

// Extents of one layer's streaming state. block and memory are multiples of chunk; memory >= window.
struct CausalShape {
  size_t heads, head_dim, window, chunk, rank;
  size_t block, memory;  // tokens
  size_t max_rows;       // of one step, at most block
  bool int8;             // caches int8 with scales, else float32

  size_t width() const { return heads * head_dim; }
  size_t memory_summaries() const { return memory / chunk * rank; }
  size_t block_summaries() const { return block / chunk * rank; }
  size_t positions() const { return memory_summaries() + block_summaries(); }
};

struct CausalLayer {
  const CausalLongShort* weights;
  CausalShape shape;
  void* state;                        // causal_state_bytes(), zeroed before the first reset
  const TensorView* chunk_positions;  // of weights, or the session's own where it needs more rows
};

// Consecutive tokens of one stream, none past the end of their block. x are the mixer's input rows [rows,
// width] (after the norm, where it comes first), qkv = weights->qkv(x) [rows, 3 width + heads * rank].
struct CausalStep {
  uint64_t position;  // of the first row in the stream
  size_t rows;
  const float* x;
  const float* qkv;

  size_t chunks_completed(size_t chunk) const { return (position % chunk + rows) / chunk; }
};

// ---- bidirectional attention (spec sections 2 and 3)
// ----------------------------------------------------------------

// Final (normed) keys and values as attention reads them; head a owns columns [a * head_dim, (a + 1) *
// head_dim).
struct KeyValueStore {
  size_t heads, head_dim, rows;
  bool int8;     // rounded to int8 per (row, head), else float32
  void* memory;  // key_value_bytes() (device)

  size_t width() const { return heads * head_dim; }
};

// Rows are cut into groups; the queries of a group see the group's keys and the global keys, in one softmax.
// Windows of a sequence, windows of an image and full attention (one group) are all of this kind. Queries are
// scaled.
struct GroupedAttention {
  KeyValueStore store;
  const float* query;  // rows, query_stride floats apart
  size_t query_stride;
  size_t global_first, globals;  // rows of the store that every query sees
  size_t groups, group_queries, group_keys;
  const int32_t* query_rows;  // [groups, group_queries], of query and out (device); -1: none
  const int32_t* key_rows;    // [groups, group_keys], of the store (device); -1: masked
  // Added to the scores, unless null. Neighbouring keys often have neighbouring biases: a group's keys are
  // cut into runs of bias_run (the last may be shorter), and each (query, run) names a place in the head's
  // table. (device)
  const float* bias;            // [heads], bias_stride floats apart
  const int32_t* bias_offsets;  // [group_queries, ceil(group_keys / bias_run)]
  size_t bias_stride, bias_run;
  float* out;  // rows, out_stride apart; rows of no group are not written. May be query.
  size_t out_stride;
};

// Landmark rows: p = softmax over rows of score[., a * rank + j]; out[j][slice of head a] = sum_t p[t] *
// x_t[slice], for x = key and value. Launch after launch takes in more rows of a sequence; out is complete
// for those so far.
struct Landmarks {
  static constexpr size_t kRowBlock =
      64;  // a launch takes in a multiple of this, unless it is the sequence's last

  size_t heads, head_dim, rank, rows;
  const float *score, *key, *value;  // rows, `stride` floats apart
  size_t stride;
  bool first;                  // these are the sequence's first rows
  float* running;              // [2, heads * rank]: largest score, sum of exp(score - largest)
  float *out_key, *out_value;  // [rank, width]

  size_t running_floats() const { return 2 * heads * rank; }
};

// The cls row attends to the outputs of all others: p = softmax([q.k, q.x_t ...]) per head; out = p_0 v +
// sum_t p_t x_t.
struct ClsAttention {
  size_t heads, head_dim, rows;
  const float *query, *key, *value;  // [width] of the cls row
  const float* x;                    // rows, `stride` floats apart
  size_t stride;
  float* out;  // [width]
};

// A depthwise convolution along positions, added to the outputs of some rows: with t = position_of[r],
// out[r][slice of head a] += sum_s weight[a][s] * value[row_at[t + s - kernel / 2]][slice], where positions
// outside the document or without a row count as zero.
struct Convolution {
  size_t heads, head_dim, kernel;
  const float* weight;         // [heads, kernel]
  const float* value;          // all rows, [width] each
  const int32_t* row_at;       // [positions] (device); -1: none
  const int32_t* position_of;  // all rows (device)
  size_t positions;
  size_t first, rows;  // outputs that are computed
  float* out;          // all rows, [width] each
};

// ---- images
// ---------------------------------------------------------------------------------------------------------

// A square picture that is cut into grid x grid patches of patch x patch.
struct PatchSource {
  enum class Layout { kPlanes, kRows };
  Layout layout;
  const float* data;  // kPlanes: [channels, side, side]; kRows: [side * side, channels]
  size_t channels, grid, patch;
  size_t side() const { return grid * patch; }
};

// ---- the interface
// --------------------------------------------------------------------------------------------------

class Backend {
 public:
  // name: "cpu". isa: "" for LSRT_ISA or the best kernel set. Errors: kArgument, kUnsupported.
  static Result<std::unique_ptr<Backend>> create(const std::string& name, const std::string& isa);

  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  virtual const char* isa() const = 0;

  // -- preparation
  // ----------------------------------------------------------------------------------------------------

  // Prepares a linear layer, once for equal views; the model must outlive the backend. Thread-safe.
  virtual Result<const Linear*> prepare(const LinearView& view) = 0;
  // Device memory, 64-byte aligned and zeroed.
  virtual Result<void*> allocate(size_t bytes) = 0;
  virtual void release(void* memory) = 0;
  // threads: 1 ..; workspace: bytes, the largest *_workspace_bytes() of the launches to come.
  virtual Result<std::unique_ptr<Stream>> create_stream(size_t threads, size_t workspace) = 0;

  virtual void copy_to_device(Stream& stream, void* device, const void* host, size_t bytes) = 0;
  virtual void copy_to_host(Stream& stream, void* host, const void* device, size_t bytes) = 0;
  // Waits for all launches; the first error since the last call.
  virtual Status synchronize(Stream& stream) = 0;

  // -- launches
  // -------------------------------------------------------------------------------------------------------

  // y[rows, outputs] = activation(linear(x[rows, inputs]))
  virtual size_t linear_workspace_bytes(const Linear& linear, size_t rows, size_t threads) const = 0;
  virtual void linear(Stream& stream, const Linear& linear, const float* x, size_t rows,
                      Activation activation, float* y) = 0;

  // x += residual (unless null); y = norm(x) over rows of `width`. y may be x.
  virtual void add_norm(Stream& stream, const NormView& norm, size_t width, const float* residual,
                        size_t rows, float* x, float* y) = 0;

  // y = norm(x) over rows of `width`, x_stride and y_stride floats apart; an empty norm copies. y may be x.
  virtual void layer_norm(Stream& stream, const NormView& norm, size_t width, const float* x, size_t x_stride,
                          size_t rows, float* y, size_t y_stride) = 0;
  void copy_rows(Stream& stream, size_t width, const float* x, size_t x_stride, size_t rows, float* y,
                 size_t y_stride) {
    layer_norm(stream, NormView(), width, x, x_stride, rows, y, y_stride);
  }

  // y[n] += x[n]
  virtual void add(Stream& stream, const float* x, size_t n, float* y) = 0;

  // y[i] = embedding[tokens[i]] * scale + positions[i] (positions may be null; tokens are in range)
  virtual void embed(Stream& stream, const TokenStem& stem, size_t width, const int32_t* tokens, size_t rows,
                     const float* positions, float* y) = 0;

  // -- causal long-short attention
  // -------------------------------------------------------------------------------------- A step is: append;
  // where chunks were completed, the qkv layer on their compressed rows and remember; attend.

  virtual size_t causal_state_bytes(const CausalShape& shape) const = 0;
  virtual size_t causal_workspace_bytes(const CausalShape& shape, size_t threads) const = 0;

  // Starts a stream: an endless past of zero layer inputs. zero_qkv = qkv of the mixer's input row for a zero
  // layer input.
  virtual void causal_reset(Stream& stream, const CausalLayer& layer, const float* zero_qkv) = 0;

  // Stores the rows' keys and values in the window, the summaries (block form) of the chunks they complete,
  // and writes the compressed inputs of those chunks to compressed[chunks_completed * rank, width].
  virtual void causal_append(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                             float* compressed) = 0;

  // Stores the memory form of the completed chunks' summaries: compressed_qkv[chunks_completed * rank, ...] =
  // qkv(compressed). They are seen from the next block on.
  virtual void causal_remember(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                               const float* compressed_qkv) = 0;

  // y[rows, width] = attention of the step's queries, before the output projection.
  virtual void causal_attend(Stream& stream, const CausalLayer& layer, const CausalStep& step, float* y) = 0;

  // Position table [heads, rows, head_dim] from rows[rows, width]: in int8 layers quantized per head and row.
  // `memory` has position_table_bytes(); the view points into it.
  virtual size_t position_table_bytes(const CausalShape& shape, size_t rows) const = 0;
  virtual TensorView make_position_table(Stream& stream, const CausalShape& shape, const float* rows,
                                         size_t count, void* memory) = 0;

  // -- bidirectional attention
  // ------------------------------------------------------------------------------------------ Workspace
  // sizes look at extents only; those of one group, or of several, are enough for fewer rows and keys, too.

  virtual size_t key_value_bytes(const KeyValueStore& shape) const = 0;
  // Rows first .. first + rows - 1 of the store, from key and value rows `stride` floats apart.
  virtual void store_key_values(Stream& stream, const KeyValueStore& store, size_t first, size_t rows,
                                const float* key, const float* value, size_t stride) = 0;

  virtual size_t grouped_attention_workspace_bytes(const GroupedAttention& shape, size_t threads) const = 0;
  virtual void grouped_attention(Stream& stream, const GroupedAttention& attention) = 0;

  virtual size_t landmarks_workspace_bytes(const Landmarks& shape, size_t threads) const = 0;
  virtual void landmarks(Stream& stream, const Landmarks& landmarks) = 0;  // rank is not 0

  virtual size_t cls_attention_workspace_bytes(const ClsAttention& shape, size_t threads) const = 0;
  virtual void cls_attention(Stream& stream, const ClsAttention& attention) = 0;

  virtual void convolve(Stream& stream, const Convolution& convolution) = 0;

  // -- images and pooling
  // -----------------------------------------------------------------------------------------------

  // patches[grid * grid, channels * patch * patch], each in the order (channel, y, x).
  virtual void extract_patches(Stream& stream, const PatchSource& source, float* patches) = 0;

  // out[width] = (sum of x[rows, width]) / divisor
  virtual void mean_rows(Stream& stream, const float* x, size_t rows, size_t width, float divisor,
                         float* out) = 0;

  // out[4 * width] = a, b, a * b, a - b of features[2, width] = a, b
  virtual void compare(Stream& stream, const float* features, size_t width, float* out) = 0;
};

}  // namespace lsrt
