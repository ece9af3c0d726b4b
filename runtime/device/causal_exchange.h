// The state of one causal long-short layer in the form in which it leaves a device and enters another one:
// what the tokens to come can still see, in the order of the stream. It depends on the extents of the layer
// and on the stream's position p (tokens fed) alone: on no device, instruction set, batch size, number of
// threads or layout of caches.
//
// With n rows of a part (below), little-endian, one array after the other without gaps:
//
//   pending inputs     [p % chunk, width] float32: mixer inputs of the chunk that is not finished
//   pending rows       [p % chunk, 2 width + heads * rank] float32: their keys, values, chunk weights (head *
//   rank + j) scales             of window, memory and block in turn: of keys [n, heads] float32, of values
//   [n, heads] float32;
//                      in int8 layers only
//   keys and values    of window, memory and block in turn: keys [n, heads, head_dim], values [n, heads,
//   head_dim]; int8,
//                      or float32 in float layers
//   zeros              to a multiple of 16 bytes
//
// Rows, oldest first (spec section 1):
//
//   window    the last min(p, window - 1) tokens; none where window is 0
//   memory    summaries in memory form: the last `memory` tokens' before the current block, as far as the
//   stream reaches
//             back, and those of the block's finished chunks
//   block     summaries in block form of the block's finished chunks
//
// Without summaries (rank 0) there are only window rows. The endless past before the stream follows from the
// model, and sums of int8 rows from the rows: neither is here.
#pragma once

#include <algorithm>

#include "runtime/device/backend.h"

namespace lsrt {

struct ExchangedRows {
  uint64_t first =
      0;  // window: stream position; memory: number of the summary in the stream; block: in the block
  size_t count = 0;
  size_t key_scales = 0, value_scales = 0;  // offsets in bytes
  size_t keys = 0, values = 0;
};

struct CausalExchange {
  ExchangedRows window, memory, block;
  size_t pending = 0;                    // rows
  size_t pending_x = 0, pending_kv = 0;  // offsets in bytes
  size_t used = 0;                       // bytes before the zeros
  size_t bytes = 0;

  static constexpr size_t kAlignment = 16;
  static size_t pending_kv_width(const CausalShape& s) { return 2 * s.width() + s.heads * s.rank; }

  CausalExchange(const CausalShape& s, uint64_t position) {
    if (s.window) window.count = std::min<uint64_t>(position, s.window - 1);
    window.first = position - window.count;
    if (s.rank) {
      const uint64_t block_first = position / s.block * s.block_summaries();
      const uint64_t end = position / s.chunk * s.rank;
      memory.first = block_first - std::min<uint64_t>(block_first, s.memory_summaries());
      memory.count = end - memory.first;
      block.count = end - block_first;
      pending = position % s.chunk;
    }
    pending_x = take(pending * s.width() * sizeof(float));
    pending_kv = take(pending * pending_kv_width(s) * sizeof(float));
    for (ExchangedRows* rows : {&window, &memory, &block}) {
      rows->key_scales = take(s.int8 ? rows->count * s.heads * sizeof(float) : 0);
      rows->value_scales = take(s.int8 ? rows->count * s.heads * sizeof(float) : 0);
    }
    for (ExchangedRows* rows : {&window, &memory, &block}) {
      rows->keys = take(rows->count * s.width() * (s.int8 ? 1 : sizeof(float)));
      rows->values = take(rows->count * s.width() * (s.int8 ? 1 : sizeof(float)));
    }
    bytes = (used + kAlignment - 1) / kAlignment * kAlignment;
  }

  // No position needs more: that of a stream whose window and memory are full, one token before its block is.
  static size_t most_bytes(const CausalShape& s) {
    const uint64_t full = std::max(s.window, s.memory) / s.block + 1;
    return CausalExchange(s, (full + 1) * s.block - 1).bytes;
  }

 private:
  size_t take(size_t n) {
    const size_t at = used;
    used += n;
    return at;
  }
};

}  // namespace lsrt
