// What the layers of encoders and of image networks do alike. A layer passes over its rows twice, tile by
// tile: the first pass leaves queries, stored keys and values, and landmarks; the second one runs all that
// follows attention. Only these and the rows themselves exist for the whole input; everything else is as
// large as a tile and stays in the cache.
#pragma once

#include <algorithm>

#include "runtime/backend.h"
#include "runtime/carver.h"

namespace lsrt {

// A block with pre_norm residuals whose linear layers are ready to run.
struct PreparedBlock {
  const Block* block;
  const Linear *qkv, *out, *fc1, *fc2;
  size_t width, heads, head_dim, rank;
  bool int8;

  // mixer: that of the block. Errors: those of Backend::prepare.
  template <typename Mixer>
  static Result<PreparedBlock> prepare(Backend& backend, const Block& block, const Mixer& mixer) {
    PreparedBlock p{};
    p.block = &block;
    LSRT_ASSIGN(p.qkv, backend.prepare(mixer.qkv));
    LSRT_ASSIGN(p.out, backend.prepare(mixer.out));
    LSRT_ASSIGN(p.fc1, backend.prepare(block.feed_forward.fc1));
    LSRT_ASSIGN(p.fc2, backend.prepare(block.feed_forward.fc2));
    p.width = p.qkv->inputs;
    p.heads = mixer.heads, p.head_dim = mixer.head_dim;
    p.int8 = mixer.qkv.weight.type == DataType::kInt8;
    return p;
  }

  // Keys and values of `rows` rows, without memory.
  KeyValueStore store(size_t rows) const { return {heads, head_dim, rows, int8, nullptr}; }
};

// Where the first pass leaves its results.
struct Projected {
  KeyValueStore store;                   // rows 0 ..
  float* query;                          // [rows, width]
  float* value;                          // [rows, width], or null
  float* lead_key_value;                 // [lead, 2 width], or null
  float *landmark_key, *landmark_value;  // [rank, width], before their norm
};

class LayerRunner {
 public:
  // A multiple of Landmarks::kRowBlock.
  static constexpr size_t kTileRows = 4 * Landmarks::kRowBlock;

  // Makes the tile as large as this block needs it for inputs of `rows` rows.
  void reserve(const Backend& backend, const PreparedBlock& block, size_t rows, size_t threads);
  size_t workspace_bytes() const { return workspace_bytes_; }
  void place(Carver* device);

  // First pass over x[rows, width]. The first `lead` rows (at most one) do not count for landmarks.
  void project(Backend& backend, Stream& stream, const PreparedBlock& block, const NormView& norm_keys,
               const float* x, size_t rows, size_t lead, const Projected& to) const;

  // Norms keys and values [count, width] of global rows, and puts them into the store from row `first` on.
  static void store_globals(Backend& backend, Stream& stream, const NormView& norm,
                            const KeyValueStore& store, size_t first, size_t count, float* key, float* value);

  // Second pass: x[rows, width] += out(attention), then += feed-forward.
  void feed_forward(Backend& backend, Stream& stream, const PreparedBlock& block, const float* attention,
                    size_t rows, float* x) const;

 private:
  size_t tile_rows_ = 0, width_ = 0, qkv_width_ = 0, hidden_width_ = 0, landmarks_ = 0, workspace_bytes_ = 0;
  float* normed_ = nullptr;          // [tile, width]
  float* qkv_ = nullptr;             // [tile, 3 width + heads * rank]
  float* mixed_ = nullptr;           // [tile, width]: output of the mixer, then of the feed-forward
  float* hidden_ = nullptr;          // [tile, feed-forward width]
  float* landmark_state_ = nullptr;  // Landmarks::running
};

}  // namespace lsrt
