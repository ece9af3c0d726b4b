#include "runtime/vision_network.h"

#include <algorithm>

namespace lsrt {

// Rows of a stage: the cls row, and patches of the images (first stage) or of the rows that the stage before
// left in x.
void VisionNetwork::embed(const StagePlan& stage, size_t index, size_t count, const Buffers& b) {
  const PatchStem& stem = *stage.stem;
  const size_t patches = size_t{stem.grid} * stem.grid, depth = stage.patch_floats();
  PatchSource source{PatchSource::Layout::kPlanes, b.images, stem.channels, stem.grid, stem.patch};
  size_t image_floats = stem.channels * source.side() * source.side();
  if (index > 0) {
    const StagePlan& before = stages_[index - 1];
    source.layout = PatchSource::Layout::kRows;
    source.data = b.x + before.stem->cls_count * before.width;
    image_floats = before.rows * before.width;
  }
  for (size_t i = 0; i < count; ++i, source.data += image_floats) {
    backend_->extract_patches(*stream_, source, b.wide + i * patches * depth);
  }
  backend_->linear(*stream_, *stage.projection, b.wide, count * patches, Activation::kNone, b.mixed);
  for (size_t i = 0; i < count; ++i) {
    float* rows = b.x + i * stage.rows * stage.width;
    const size_t lead = stem.cls_count * stage.width;
    if (lead) backend_->copy_to_device(*stream_, rows, stem.cls_tokens, lead * sizeof(float));
    backend_->layer_norm(*stream_, stem.norm, stage.width, b.mixed + i * patches * stage.width, stage.width,
                         patches, rows + lead, stage.width);
    if (stem.positions) backend_->add(*stream_, stem.positions, stage.rows * stage.width, rows);
  }
}

// attention = mixer of one image's qkv rows in `wide`, before the output projection. The buffers are those of
// the image.
void VisionNetwork::mix(const StagePlan& stage, const Layer& layer, size_t image, const Buffers& all) {
  const Mixing& m = layer.mixing;
  const size_t width = stage.width, ld = layer.qkv->outputs;
  Buffers b = all;
  b.wide += image * stage.rows * ld;
  b.attention += image * stage.rows * width;
  float* key = b.wide + width;
  float* value = key + width;
  if (*m.norm_keys) {
    backend_->layer_norm(*stream_, *m.norm_keys, width, key, ld, stage.rows, key, ld);
    backend_->layer_norm(*stream_, *m.norm_keys, width, value, ld, stage.rows, value, ld);
  }
  GroupedAttention grouped = attention_shape(stage, layer);
  grouped.store.memory = b.store;
  backend_->store_key_values(*stream_, grouped.store, 0, stage.rows, key, value, ld);
  const size_t cls = stage.stem->cls_count;
  if (m.rank) {
    const size_t lead = cls * ld;
    Landmarks landmarks = landmark_shape(stage, layer);
    landmarks.score = value + width + lead;
    landmarks.key = key + lead, landmarks.value = value + lead;
    landmarks.first = true;
    landmarks.running = b.landmark_state;
    landmarks.out_key = b.landmark_key, landmarks.out_value = b.landmark_value;
    backend_->landmarks(*stream_, landmarks);
    for (float* rows : {b.landmark_key, b.landmark_value}) {
      backend_->layer_norm(*stream_, *m.norm_summary, width, rows, width, m.rank, rows, width);
    }
    backend_->store_key_values(*stream_, grouped.store, grouped.global_first, m.rank, b.landmark_key,
                               b.landmark_value, width);
  }
  grouped.query = b.wide;
  grouped.query_rows = layout_tables_[m.layout].query_rows;
  grouped.key_rows = layout_tables_[m.layout].key_rows;
  grouped.bias = m.bias;
  grouped.bias_offsets = layout_tables_[m.layout].bias_offsets;
  grouped.out = b.attention;
  backend_->grouped_attention(*stream_, grouped);
  if (cls && layouts_[m.layout].window) {
    ClsAttention attention{m.heads,    m.head_dim, stage.rows - cls,          b.wide,
                           key,        value,      b.attention + cls * width, width,
                           b.attention};
    backend_->cls_attention(*stream_, attention);
  }
}

// The output of the layer's feed-forward stays in `mixed` until the next norm, or the end of the stage, adds
// it to x.
void VisionNetwork::run_layer(const StagePlan& stage, const Layer& layer, size_t count, const Buffers& b) {
  const size_t rows = count * stage.rows, width = stage.width;
  const Block& block = *layer.block;
  Backend& device = *backend_;
  Stream& stream = *stream_;
  const float* pending = &layer == &stage.layers.front() ? nullptr : b.mixed;
  device.add_norm(stream, block.norm1, width, pending, rows, b.x, b.normed);
  device.linear(stream, *layer.qkv, b.normed, rows, Activation::kNone, b.wide);
  for (size_t i = 0; i < count; ++i) mix(stage, layer, i, b);
  device.linear(stream, *layer.out, b.attention, rows, Activation::kNone, b.mixed);
  device.add_norm(stream, block.norm2, width, b.mixed, rows, b.x, b.normed);
  device.linear(stream, *layer.fc1, b.normed, rows, block.feed_forward.activation, b.wide);
  device.linear(stream, *layer.fc2, b.wide, rows, Activation::kNone, b.mixed);
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
    embed(stage, i, count, b);
    for (const Layer& layer : stage.layers) run_layer(stage, layer, count, b);
    backend_->add(*stream_, b.mixed, count * stage.rows * stage.width, b.x);
    if (stage_rows) {
      backend_->copy_to_host(*stream_, stage_rows[i], b.x, count * stage.rows * stage.width * sizeof(float));
    }
  }
  for (size_t i = 0; i < count; ++i) {
    head_->pool(*stream_, last.width, b.x + i * last.rows * last.width, last.rows,
                static_cast<float>(last.rows), b.features + i * last.width);
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
