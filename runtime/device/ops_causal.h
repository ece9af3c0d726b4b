// Causal long-short attention (spec section 1) of one layer over a stream.
#pragma once

#include "runtime/device/dev.h"
#include "runtime/device/stream.h"

namespace lsrt {

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
  CausalShape shape;
  DeviceNorm norm_window, norm_summary;
  Dev<const float> content_bias, position_bias;  // [heads, head_dim]
  DeviceTensor window_positions;                 // [heads, window, head_dim]
  DeviceTensor chunk_positions;                  // [heads, shape.positions() or more, head_dim]
  Dev<void> state;                               // state_bytes(), zeroed before the first reset
};

// What differs between steps of one shape.
struct StepNumbers {
  uint64_t position;  // of the first row in the stream
};

// Consecutive tokens of one stream, none past the end of their block. x are the mixer's input rows [rows,
// width] (after the norm, where it comes first), qkv = those of the qkv layer [rows, 3 width + heads * rank].
struct CausalStep {
  Dev<const StepNumbers> numbers;
  size_t rows;
  size_t completed;  // chunks that end in this step
  Dev<const float> x;
  Dev<const float> qkv;

  static size_t chunks_completed(uint64_t position, size_t rows, size_t chunk) {
    return (position % chunk + rows) / chunk;
  }
};

// A step is: append; where chunks were completed, the qkv layer on their compressed rows and remember;
// attend.
class CausalOps {
 public:
  virtual ~CausalOps() = default;

  virtual size_t state_bytes(const CausalShape& shape) const = 0;
  virtual void plan(const CausalShape& shape, StreamPlan* plan) const = 0;

  // Starts a stream: an endless past of zero layer inputs. zero_qkv = qkv of the mixer's input row for a zero
  // layer input.
  virtual void reset(Stream& stream, const CausalLayer& layer, Dev<const float> zero_qkv) const = 0;

  // Stores the rows' keys and values in the window, the summaries (block form) of the chunks they complete,
  // and writes the compressed inputs of those chunks to compressed[completed * rank, width].
  virtual void append(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                      Dev<float> compressed) const = 0;

  // Stores the memory form of the completed chunks' summaries: compressed_qkv[completed * rank, ...] =
  // qkv(compressed). They are seen from the next block on.
  virtual void remember(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                        Dev<const float> compressed_qkv) const = 0;

  // y[rows, width] = attention of the step's queries, before the output projection.
  virtual void attend(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                      Dev<float> y) const = 0;

  // Position table [heads, rows, head_dim] from rows[rows, width]: in int8 layers quantized per head and row.
  // `memory` has position_table_bytes(); the table lies in it.
  virtual size_t position_table_bytes(const CausalShape& shape, size_t rows) const = 0;
  virtual DeviceTensor make_position_table(Stream& stream, const CausalShape& shape, Dev<const float> rows,
                                           size_t count, Dev<void> memory) const = 0;

  // The layer's state at a stream position, to and from the form of runtime/device/causal_exchange.h: `bytes`
  // of CausalExchange(layer.shape, position). Import leaves the endless past as reset stored it.
  virtual void export_state(Stream& stream, const CausalLayer& layer, uint64_t position,
                            Dev<void> out) const = 0;
  virtual void import_state(Stream& stream, const CausalLayer& layer, uint64_t position,
                            Dev<const void> in) const = 0;
};

}  // namespace lsrt
