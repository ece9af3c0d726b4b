#include "runtime/layer_runner.h"

namespace lsrt {
namespace {

Landmarks landmark_extents(const PreparedBlock& block, size_t rows) {
  Landmarks l{};
  l.heads = block.heads, l.head_dim = block.head_dim, l.rank = block.rank;
  l.rows = rows, l.stride = block.qkv->outputs;
  return l;
}

}  // namespace

void LayerRunner::reserve(const Backend& backend, const PreparedBlock& block, size_t rows, size_t threads) {
  const size_t tile = std::min(rows, 1 + kTileRows);  // with a leading row
  tile_rows_ = std::max(tile_rows_, tile);
  width_ = std::max(width_, block.width);
  qkv_width_ = std::max(qkv_width_, block.qkv->outputs);
  hidden_width_ = std::max(hidden_width_, block.fc1->outputs);
  const Landmarks landmarks = landmark_extents(block, tile);
  landmarks_ = std::max(landmarks_, landmarks.running_floats());
  for (const Linear* linear : {block.qkv, block.out, block.fc1, block.fc2}) {
    workspace_bytes_ = std::max(workspace_bytes_, backend.linear_workspace_bytes(*linear, tile, threads));
  }
  if (block.rank == 0) return;
  workspace_bytes_ = std::max(workspace_bytes_, backend.landmarks_workspace_bytes(landmarks, threads));
}

void LayerRunner::place(Carver* device) {
  normed_ = device->take<float>(tile_rows_ * width_);
  qkv_ = device->take<float>(tile_rows_ * qkv_width_);
  mixed_ = device->take<float>(tile_rows_ * width_);
  hidden_ = device->take<float>(tile_rows_ * hidden_width_);
  landmark_state_ = device->take<float>(landmarks_);
}

void LayerRunner::project(Backend& backend, Stream& stream, const PreparedBlock& block,
                          const NormView& norm_keys, const float* x, size_t rows, size_t lead,
                          const Projected& to) const {
  const size_t width = block.width, stride = block.qkv->outputs;
  float *key = qkv_ + width, *value = key + width;
  for (size_t row = 0, count; row < rows; row += count) {
    const size_t skip = row == 0 ? lead : 0;
    count = std::min(skip + kTileRows, rows - row);
    backend.layer_norm(stream, block.block->norm1, width, x + row * width, width, count, normed_, width);
    backend.linear(stream, *block.qkv, normed_, count, Activation::kNone, qkv_);
    backend.copy_rows(stream, width, qkv_, stride, count, to.query + row * width, width);
    if (norm_keys) {
      backend.layer_norm(stream, norm_keys, width, key, stride, count, key, stride);
      backend.layer_norm(stream, norm_keys, width, value, stride, count, value, stride);
    }
    backend.store_key_values(stream, to.store, row, count, key, value, stride);
    if (to.value) backend.copy_rows(stream, width, value, stride, count, to.value + row * width, width);
    if (skip && to.lead_key_value) {
      backend.copy_rows(stream, 2 * width, key, stride, skip, to.lead_key_value, 2 * width);
    }
    if (block.rank == 0 || count == skip) continue;
    Landmarks l = landmark_extents(block, count - skip);
    l.key = key + skip * stride, l.value = value + skip * stride, l.score = l.value + width;
    l.first = row == 0;
    l.running = landmark_state_;
    l.out_key = to.landmark_key, l.out_value = to.landmark_value;
    backend.landmarks(stream, l);
  }
}

void LayerRunner::store_globals(Backend& backend, Stream& stream, const NormView& norm,
                                const KeyValueStore& store, size_t first, size_t count, float* key,
                                float* value) {
  const size_t width = store.width();
  backend.layer_norm(stream, norm, width, key, width, count, key, width);
  backend.layer_norm(stream, norm, width, value, width, count, value, width);
  backend.store_key_values(stream, store, first, count, key, value, width);
}

void LayerRunner::feed_forward(Backend& backend, Stream& stream, const PreparedBlock& block,
                               const float* attention, size_t rows, float* x) const {
  const size_t width = block.width;
  for (size_t count; rows > 0; rows -= count, attention += count * width, x += count * width) {
    count = rows <= tile_rows_ ? rows : kTileRows;
    backend.linear(stream, *block.out, attention, count, Activation::kNone, mixed_);
    backend.add_norm(stream, block.block->norm2, width, mixed_, count, x, normed_);
    backend.linear(stream, *block.fc1, normed_, count, block.block->feed_forward.activation, hidden_);
    backend.linear(stream, *block.fc2, hidden_, count, Activation::kNone, mixed_);
    backend.add(stream, mixed_, count * width, x);
  }
}

}  // namespace lsrt
