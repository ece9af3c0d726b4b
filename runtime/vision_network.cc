#include "runtime/vision_network.h"

#include <algorithm>

namespace lsrt {

// One image's rows of a stage: the cls row, and patches of the image (first stage) or of the rows that the
// stage before left in x.
void VisionNetwork::embed(const StagePlan& stage, size_t index, size_t image, const Buffers& b) {
  const PatchStem& stem = *stage.stem;
  const size_t patches = size_t{stem.grid} * stem.grid, lead = stem.cls_count * stage.width;
  float* rows = b.x + image * b.image_floats;
  PatchSource source{PatchSource::Layout::kPlanes, nullptr, stem.channels, stem.grid, stem.patch};
  if (index == 0) {
    source.data = b.images + image * stem.channels * source.side() * source.side();
  } else {
    const StagePlan& before = stages_[index - 1];
    source.layout = PatchSource::Layout::kRows;
    source.data = rows + before.stem->cls_count * before.width;
  }
  backend_->extract_patches(*stream_, source, b.patches);
  backend_->linear(*stream_, *stage.projection, b.patches, patches, Activation::kNone, b.attention);
  if (lead) backend_->copy_to_device(*stream_, rows, stem.cls_tokens, lead * sizeof(float));
  backend_->layer_norm(*stream_, stem.norm, stage.width, b.attention, stage.width, patches, rows + lead,
                       stage.width);
  if (stem.positions) backend_->add(*stream_, stem.positions, stage.rows * stage.width, rows);
}

void VisionNetwork::run_layer(const StagePlan& stage, const Layer& layer, size_t image, const Buffers& b) {
  const PreparedBlock& block = layer.prepared;
  const size_t width = stage.width, cls = stage.stem->cls_count;
  float* x = b.x + image * b.image_floats;
  KeyValueStore store = store_of(stage, layer);
  store.memory = b.store;
  const Projected to = {store,          b.attention,     nullptr, cls ? b.cls_key_value : nullptr,
                        b.landmark_key, b.landmark_value};
  runner_.project(*backend_, *stream_, block, *layer.norm_keys, x, stage.rows, cls, to);
  if (block.rank) {
    LayerRunner::store_globals(*backend_, *stream_, *layer.norm_summary, store, stage.rows, block.rank,
                               b.landmark_key, b.landmark_value);
  }
  GroupedAttention grouped = attention_shape(stage, layer);
  grouped.store = store;
  grouped.query = grouped.out = b.attention;
  grouped.query_rows = layout_tables_[layer.layout].query_rows;
  grouped.key_rows = layout_tables_[layer.layout].key_rows;
  grouped.bias = layer.bias;
  grouped.bias_offsets = layout_tables_[layer.layout].bias_offsets;
  backend_->grouped_attention(*stream_, grouped);
  if (cls && layouts_[layer.layout].window) {
    ClsAttention attention = cls_shape(stage, layer);
    attention.query = attention.out = b.attention;
    attention.key = b.cls_key_value, attention.value = b.cls_key_value + width;
    attention.x = b.attention + cls * width;
    backend_->cls_attention(*stream_, attention);
  }
  runner_.feed_forward(*backend_, *stream_, block, b.attention, stage.rows, x);
}

// stage_rows: null, or per stage where its rows go.
void VisionNetwork::run_batch(const float* images, size_t count, float* logits, float* const* stage_rows) {
  Carver carver(scratch_);
  const Buffers b(*this, &carver);
  const StagePlan& last = stages_.back();
  backend_->copy_to_device(*stream_, b.images, images,
                           count * 3 * image_size() * image_size() * sizeof(float));
  for (size_t i = 0; i < stages_.size(); ++i) {
    const StagePlan& stage = stages_[i];
    for (size_t image = 0; image < count; ++image) embed(stage, i, image, b);
    for (const Layer& layer :
         stage.layers) {  // image after image, while the layer's weights are in the cache
      for (size_t image = 0; image < count; ++image) run_layer(stage, layer, image, b);
    }
    const size_t floats = stage.rows * stage.width;
    for (size_t image = 0; stage_rows && image < count; ++image) {
      backend_->copy_to_host(*stream_, stage_rows[i] + image * floats, b.x + image * b.image_floats,
                             floats * sizeof(float));
    }
  }
  for (size_t i = 0; i < count; ++i) {
    head_->pool(*stream_, last.width, b.x + i * b.image_floats, last.rows, static_cast<float>(last.rows),
                b.features + i * last.width);
  }
  head_->run(*stream_, b.features, count, b.head_scratch, b.logits);
  backend_->copy_to_host(*stream_, logits, b.logits, count * classes() * sizeof(float));
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
    LSRT_TRY(backend_->synchronize(*stream_));
    for (size_t i = 0; i < stage_rows.size(); ++i) stage_rows[i] += n * stages_[i].rows * stages_[i].width;
    images += n * 3 * image_size() * image_size();
    logits += n * classes();
    count -= n;
  }
  return Status();
}

}  // namespace lsrt
