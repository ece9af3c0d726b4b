#include "runtime/mixers/layer_runner.h"

namespace lsrt {
namespace {

constexpr size_t kMostTileRows = size_t{1} << 30;  // all

Landmarks landmark_extents(const PreparedBlock& block, size_t rows) {
  Landmarks l{};
  l.heads = block.heads, l.head_dim = block.head_dim, l.rank = block.rank;
  l.rows = rows, l.stride = block.qkv_width();
  return l;
}

}  // namespace

Status PreparedBlock::prepare(Backend& backend) {
  LSRT_ASSIGN(qkv, backend.prepare(*qkv_view));
  LSRT_ASSIGN(out, backend.prepare(*out_view));
  if (global_qkv_view) {
    LSRT_ASSIGN(global_qkv, backend.prepare(*global_qkv_view));
    LSRT_ASSIGN(global_out, backend.prepare(*global_out_view));
  }
  LSRT_ASSIGN(fc1, backend.prepare(block->feed_forward.fc1));
  LSRT_ASSIGN(fc2, backend.prepare(block->feed_forward.fc2));
  norm1 = backend.norm(block->norm1), norm2 = backend.norm(block->norm2);
  norm_mixed = backend.norm(block->norm_mixed), norm_hidden = backend.norm(block->feed_forward.norm);
  if (norm_keys_view) norm_keys = backend.norm(*norm_keys_view);
  if (norm_summary_view) norm_summary = backend.norm(*norm_summary_view);
  return {};
}

LayerRunner::LayerRunner(Backend& backend)
    : backend_(backend), tile_(std::min(backend.info().tile_rows, kMostTileRows)) {}

void LayerRunner::plan(const PreparedBlock& block, size_t rows, StreamPlan* plan) {
  const size_t tile = std::min(rows, 1 + tile_);  // with a leading row
  most_rows_ = std::max(most_rows_, tile);
  width_ = std::max(width_, block.width);
  qkv_width_ = std::max(qkv_width_, block.qkv_width());
  hidden_width_ = std::max(hidden_width_, block.block->feed_forward.fc1.outputs);
  const Landmarks landmarks = landmark_extents(block, tile);
  landmarks_ = std::max(landmarks_, landmarks.running_floats());
  const FeedForward& feed_forward = block.block->feed_forward;
  for (const LinearView* view : {block.qkv_view, block.out_view, &feed_forward.fc1, &feed_forward.fc2}) {
    backend_.ops().linear->plan(*view, tile, plan);
  }
  if (block.global_qkv_view) {
    backend_.ops().linear->plan(*block.global_qkv_view, tile, plan);
    backend_.ops().linear->plan(*block.global_out_view, tile, plan);
  }
  if (block.rank) backend_.ops().grouped->plan(landmarks, plan);
}

void LayerRunner::place(DeviceCarver* device) {
  normed_ = device->take<float>(most_rows_ * width_);
  qkv_ = device->take<float>(most_rows_ * qkv_width_);
  mixed_ = device->take<float>(most_rows_ * width_);
  hidden_ = device->take<float>(most_rows_ * hidden_width_);
  landmark_state_ = device->take<float>(landmarks_);
}

void LayerRunner::project(Stream& stream, const PreparedBlock& block, Dev<const float> x, size_t rows,
                          size_t lead, const Projected& to) const {
  const RowOps& row_ops = *backend_.ops().rows;
  const GroupedOps& grouped = *backend_.ops().grouped;
  const size_t width = block.width, stride = block.qkv_width();
  const Dev<float> key = qkv_ + width, value = key + width;
  for (size_t row = 0, count; row < rows; row += count) {
    const size_t skip = row == 0 ? lead : 0;
    count = std::min(skip + tile_, rows - row);
    row_ops.layer_norm(stream, block.norm1, width, x + row * width, width, count, normed_, width);
    backend_.ops().linear->linear(stream, *block.qkv, normed_, count, Activation::kNone, qkv_);
    row_ops.copy_rows(stream, width, qkv_, stride, count, to.query + row * width, width);
    if (block.norm_keys) {
      row_ops.layer_norm(stream, block.norm_keys, width, key, stride, count, key, stride);
      row_ops.layer_norm(stream, block.norm_keys, width, value, stride, count, value, stride);
    }
    grouped.store_key_values(stream, to.store, row, count, key, value, stride);
    if (to.value) row_ops.copy_rows(stream, width, value, stride, count, to.value + row * width, width);
    if (skip && to.lead_key_value) {
      row_ops.copy_rows(stream, 2 * width, key, stride, skip, to.lead_key_value, 2 * width);
    }
    if (block.rank == 0 || count == skip) continue;
    Landmarks l = landmark_extents(block, count - skip);
    l.key = key + skip * stride, l.value = value + skip * stride, l.score = l.value + width;
    l.first = row == 0;
    l.running = landmark_state_;
    l.out_key = to.landmark_key, l.out_value = to.landmark_value;
    grouped.landmarks(stream, l);
  }
}

void LayerRunner::project_globals(Stream& stream, const PreparedBlock& block, Dev<const float> x, size_t rows,
                                  const Projected& to) const {
  const RowOps& row_ops = *backend_.ops().rows;
  const size_t width = block.width, stride = 3 * width;
  for (size_t row = 0, count; row < rows; row += count) {
    count = std::min(tile_, rows - row);
    row_ops.layer_norm(stream, block.norm1, width, x + row * width, width, count, normed_, width);
    backend_.ops().linear->linear(stream, *block.global_qkv, normed_, count, Activation::kNone, qkv_);
    if (row < block.globals) {
      const size_t queries = std::min(count, block.globals - row);
      row_ops.copy_rows(stream, width, qkv_, stride, queries, to.query + row * width, width);
    }
    backend_.ops().grouped->store_key_values(stream, to.store, row, count, qkv_ + width, qkv_ + 2 * width,
                                             stride);
  }
}

void LayerRunner::store_globals(Stream& stream, const DeviceNorm& norm, const KeyValueStore& store,
                                size_t first, size_t count, Dev<float> key, Dev<float> value) const {
  const size_t width = store.width();
  backend_.ops().rows->layer_norm(stream, norm, width, key, width, count, key, width);
  backend_.ops().rows->layer_norm(stream, norm, width, value, width, count, value, width);
  backend_.ops().grouped->store_key_values(stream, store, first, count, key, value, width);
}

void LayerRunner::feed_forward(Stream& stream, const PreparedBlock& block, Dev<const float> attention,
                               size_t rows, Dev<float> x) const {
  const RowOps& row_ops = *backend_.ops().rows;
  const LinearOps& linear = *backend_.ops().linear;
  const size_t width = block.width;
  size_t globals = block.global_out ? block.globals : 0;
  for (size_t count; rows > 0; rows -= count, attention += count * width, x += count * width) {
    count = rows <= most_rows_ ? rows : tile_;
    const size_t first = std::min(globals, count);
    Dev<const float> found = attention;
    if (block.norm_mixed) {
      row_ops.layer_norm(stream, block.norm_mixed, width, found, width, count, normed_, width);
      found = normed_;
    }
    if (first) linear.linear(stream, *block.global_out, found, first, Activation::kNone, mixed_);
    if (first < count) {
      linear.linear(stream, *block.out, found + first * width, count - first, Activation::kNone,
                    mixed_ + first * width);
    }
    globals -= first;
    row_ops.add_norm(stream, block.norm2, width, mixed_, count, x, normed_);
    linear.linear(stream, *block.fc1, normed_, count, block.block->feed_forward.activation, hidden_);
    if (block.norm_hidden) {
      const size_t hidden = block.fc1->outputs;
      row_ops.layer_norm(stream, block.norm_hidden, hidden, hidden_, hidden, count, hidden_, hidden);
    }
    linear.linear(stream, *block.fc2, hidden_, count, Activation::kNone, mixed_);
    row_ops.add(stream, mixed_, count * width, x);
  }
}

}  // namespace lsrt
