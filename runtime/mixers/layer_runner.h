// What the layers of encoders and of image networks do alike. A layer passes over its rows twice, tile by
// tile: the first pass leaves queries, stored keys and values, and landmarks; the second one runs all that
// follows attention. Only these and the rows themselves exist for the whole input; everything else is as
// large as a tile, whose size the device chooses.
#pragma once

#include <algorithm>

#include "runtime/device/device_carver.h"

namespace lsrt {

// A block with pre_norm residuals.
struct PreparedBlock {
  const Block* block;
  const LinearView *qkv_view, *out_view;
  const LinearView *global_qkv_view, *global_out_view;  // of the first `globals` rows; null: as of all others
  size_t globals;
  size_t width, heads, head_dim, rank;
  bool int8;
  const NormView *norm_keys_view, *norm_summary_view;  // may be null
  // Once prepare() was called:
  const Linear *qkv, *out, *global_qkv, *global_out, *fc1, *fc2;
  DeviceNorm norm1, norm2, norm_keys, norm_summary, norm_mixed, norm_hidden;

  // mixer: that of the block.
  template <typename Mixer>
  static PreparedBlock of(const Block& block, const Mixer& mixer) {
    PreparedBlock p{};
    p.block = &block;
    p.qkv_view = &mixer.qkv, p.out_view = &mixer.out;
    p.width = mixer.qkv.inputs;
    p.heads = mixer.heads, p.head_dim = mixer.head_dim;
    p.int8 = mixer.qkv.weight.type == DataType::kInt8;
    return p;
  }
  size_t qkv_width() const { return qkv_view->outputs; }

  // Makes the linear layers ready to run. Errors: those of Backend::prepare.
  Status prepare(Backend& backend);

  // Keys and values of `rows` rows, without memory.
  KeyValueStore store(size_t rows) const { return {heads, head_dim, rows, int8, nullptr}; }
};

// Where the first pass leaves its results.
struct Projected {
  KeyValueStore store;                      // rows 0 ..
  Dev<float> query;                         // [rows, width]
  Dev<float> value;                         // [rows, width], or null
  Dev<float> lead_key_value;                // [lead, 2 width], or null
  Dev<float> landmark_key, landmark_value;  // [rank, width], before their norm
};

class LayerRunner {
 public:
  explicit LayerRunner(Backend& backend);

  // Rows of a tile, beside a leading one.
  size_t tile_rows() const { return tile_; }
  // Makes the tile as large as this block needs it for inputs of `rows` rows.
  void plan(const PreparedBlock& block, size_t rows, StreamPlan* plan);
  void place(DeviceCarver* device);

  // First pass over x[rows, width]. The first `lead` rows (at most one) do not count for landmarks.
  void project(Stream& stream, const PreparedBlock& block, Dev<const float> x, size_t rows, size_t lead,
               const Projected& to) const;

  // The same by global_qkv: keys and values of all rows, the queries of the first `globals` ones.
  void project_globals(Stream& stream, const PreparedBlock& block, Dev<const float> x, size_t rows,
                       const Projected& to) const;

  // Norms keys and values [count, width] of global rows, and puts them into the store from row `first` on.
  void store_globals(Stream& stream, const DeviceNorm& norm, const KeyValueStore& store, size_t first,
                     size_t count, Dev<float> key, Dev<float> value) const;

  // Second pass: x[rows, width] += out(attention), then += feed-forward; what out and its last layer are
  // given is normed where the block says so.
  void feed_forward(Stream& stream, const PreparedBlock& block, Dev<const float> attention, size_t rows,
                    Dev<float> x) const;

 private:
  Backend& backend_;
  const size_t tile_;
  size_t most_rows_ = 0, width_ = 0, qkv_width_ = 0, hidden_width_ = 0, landmarks_ = 0;
  Dev<float> normed_;          // [tile, width]
  Dev<float> qkv_;             // [tile, 3 width + heads * rank]
  Dev<float> mixed_;           // [tile, width]: output of the mixer, then of the feed-forward
  Dev<float> hidden_;          // [tile, feed-forward width]
  Dev<float> landmark_state_;  // Landmarks::running
};

}  // namespace lsrt
