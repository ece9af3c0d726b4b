#include "runtime/classify/vision_network.h"

#include <algorithm>

namespace lsrt {

// One image's rows of a stage: the cls row, and patches of the image (first stage) or of the rows that the
// stage before left in x.
void VisionNetwork::embed(const StagePlan& stage, size_t index, size_t image) {
  const PatchStem& stem = *stage.stem;
  const size_t patches = size_t{stem.grid} * stem.grid, lead = stem.cls_count * stage.width;
  const Dev<float> rows = b_.x + image * b_.image_floats;
  PatchSource source{PatchSource::Layout::kPlanes, nullptr, stem.channels, stem.grid, stem.patch};
  if (index == 0) {
    source.data = b_.images + image * stem.channels * source.side() * source.side();
  } else {
    const StagePlan& before = stages_[index - 1];
    source.layout = PatchSource::Layout::kRows;
    source.data = rows + before.stem->cls_count * before.width;
  }
  backend_.ops().image->extract_patches(*stream_, source, b_.patches);
  backend_.ops().linear->linear(*stream_, *stage.projection, b_.patches, patches, Activation::kNone,
                                b_.attention);
  const RowOps& row_ops = *backend_.ops().rows;
  if (lead) row_ops.copy_rows(*stream_, lead, stage.cls_tokens, lead, 1, rows, lead);
  row_ops.layer_norm(*stream_, stage.norm, stage.width, b_.attention, stage.width, patches, rows + lead,
                     stage.width);
  if (stage.positions) row_ops.add(*stream_, stage.positions, stage.rows * stage.width, rows);
}

void VisionNetwork::run_layer(const StagePlan& stage, const Layer& layer, size_t image) {
  const PreparedBlock& block = layer.prepared;
  const size_t width = stage.width, cls = stage.stem->cls_count;
  const Dev<float> x = b_.x + image * b_.image_floats;
  KeyValueStore store = store_of(stage, layer);
  store.memory = b_.store;
  Projected to{};
  to.store = store;
  to.query = b_.attention;
  if (cls) to.lead_key_value = b_.cls_key_value;
  to.landmark_key = b_.landmark_key, to.landmark_value = b_.landmark_value;
  runner_.project(*stream_, block, x, stage.rows, cls, to);
  if (block.rank) {
    runner_.store_globals(*stream_, block.norm_summary, store, stage.rows, block.rank, b_.landmark_key,
                          b_.landmark_value);
  }
  GroupedAttention grouped = attention_shape(stage, layer);
  grouped.store = store;
  grouped.query = grouped.out = b_.attention;
  grouped.query_rows = layout_tables_[layer.layout].query_rows;
  grouped.key_rows = layout_tables_[layer.layout].key_rows;
  grouped.bias = layer.bias;
  grouped.bias_offsets = layout_tables_[layer.layout].bias_offsets;
  backend_.ops().grouped->attend(*stream_, grouped);
  if (cls && layouts_[layer.layout].window) {
    ClsAttention attention = cls_shape(stage, layer);
    attention.query = attention.out = b_.attention;
    attention.key = b_.cls_key_value, attention.value = b_.cls_key_value + width;
    attention.x = b_.attention + cls * width;
    backend_.ops().grouped->attend(*stream_, attention);
  }
  runner_.feed_forward(*stream_, block, b_.attention, stage.rows, x);
}

// stage_rows: null, or per stage where its rows go.
void VisionNetwork::run_batch(const float* images, size_t count, float* logits, float* const* stage_rows) {
  const StagePlan& last = stages_.back();
  backend_.copy_in(*stream_, b_.images, images, count * 3 * image_size() * image_size() * sizeof(float));
  for (size_t i = 0; i < stages_.size(); ++i) {
    const StagePlan& stage = stages_[i];
    for (size_t image = 0; image < count; ++image) embed(stage, i, image);
    // Image after image, while a layer's weights are in the cache.
    for (const Layer& layer : stage.layers) {
      for (size_t image = 0; image < count; ++image) run_layer(stage, layer, image);
    }
    const size_t floats = stage.rows * stage.width;
    for (size_t image = 0; stage_rows && image < count; ++image) {
      backend_.copy_out(*stream_, stage_rows[i] + image * floats, b_.x + image * b_.image_floats,
                        floats * sizeof(float));
    }
  }
  for (size_t i = 0; i < count; ++i) {
    head_->pool(*stream_, last.width, b_.x + i * b_.image_floats, last.rows, static_cast<float>(last.rows),
                b_.features + i * last.width);
  }
  head_->run(*stream_, b_.features, count, b_.head_scratch, b_.logits);
  backend_.copy_out(*stream_, logits, b_.logits, count * classes() * sizeof(float));
}

Status VisionNetwork::run(const float* images, size_t count, float* logits,
                          std::vector<std::vector<float>>* stages) {
  std::vector<float*> stage_rows;
  if (stages) {
    stages->clear();
    for (const StagePlan& stage : stages_) stages->emplace_back(count * stage.rows * stage.width);
    for (std::vector<float>& rows : *stages) stage_rows.push_back(rows.data());
  }
  while (count > 0) {
    const size_t n = std::min(count, options_.max_batch);
    run_batch(images, n, logits, stages ? stage_rows.data() : nullptr);
    LSRT_TRY(backend_.synchronize(*stream_));
    for (size_t i = 0; i < stage_rows.size(); ++i) stage_rows[i] += n * stages_[i].rows * stages_[i].width;
    images += n * 3 * image_size() * image_size();
    logits += n * classes();
    count -= n;
  }
  return Status();
}

}  // namespace lsrt
