#include "runtime/classify/vision_network.h"

#include <algorithm>

namespace lsrt {

// One image's rows of a stage: the cls rows, and patches of the image (first stage) or of the rows that the
// stage before left in x.
void VisionNetwork::embed(const StagePlan& stage, size_t index, size_t image) {
  const PatchStem& stem = *stage.stem;
  const size_t patches = size_t{stem.grid} * stem.grid, width = stage.extents.width,
               lead = stem.cls_count * width;
  const Dev<float> rows = b_.x + image * b_.image_floats;
  PatchSource source{PatchSource::Layout::kPlanes, nullptr, stem.channels, stem.grid, stem.patch};
  if (index == 0) {
    source.data = b_.images + image * stem.channels * source.side() * source.side();
  } else {
    const StagePlan& before = stages_[index - 1];
    source.layout = PatchSource::Layout::kRows;
    source.data = rows + before.stem->cls_count * before.extents.width;
  }
  backend_.ops().image->extract_patches(*stream_, source, stage.patches);
  backend_.ops().linear->linear(*stream_, *stage.projection, stage.patches, patches, Activation::kNone,
                                stage.embedded);
  const RowOps& row_ops = *backend_.ops().rows;
  if (lead) row_ops.copy_rows(*stream_, lead, stage.cls_tokens, lead, 1, rows, lead);
  row_ops.layer_norm(*stream_, stage.norm, width, stage.embedded, width, patches, rows + lead, width);
  if (stage.positions) row_ops.add(*stream_, stage.positions, stage.floats(), rows);
}

// stage_rows: null, or per stage where its rows go.
void VisionNetwork::run_batch(const float* images, size_t count, float* logits, float* const* stage_rows) {
  const ImageExtents& last = stages_.back().extents;
  backend_.copy_in(*stream_, b_.images, images, count * 3 * image_size() * image_size() * sizeof(float));
  for (size_t i = 0; i < stages_.size(); ++i) {
    const StagePlan& stage = stages_[i];
    for (size_t image = 0; image < count; ++image) embed(stage, i, image);
    // Image after image, while a layer's weights are in the cache.
    for (const auto& layer : stage.layers) {
      for (size_t image = 0; image < count; ++image) layer->run(*stream_, b_.x + image * b_.image_floats);
    }
    const size_t floats = stage.floats();
    for (size_t image = 0; stage_rows && image < count; ++image) {
      backend_.copy_out(*stream_, stage_rows[i] + image * floats, b_.x + image * b_.image_floats,
                        floats * sizeof(float));
    }
  }
  for (size_t i = 0; i < count; ++i) {
    head_->pool(*stream_, last.width, b_.x + i * b_.image_floats, last.rows(),
                static_cast<float>(last.rows()), b_.features + i * last.width);
  }
  head_->run(*stream_, b_.features, count, b_.head_scratch, b_.logits);
  backend_.copy_out(*stream_, logits, b_.logits, count * classes() * sizeof(float));
}

Status VisionNetwork::run(const float* images, size_t count, float* logits,
                          std::vector<std::vector<float>>* stages) {
  std::vector<float*> stage_rows;
  if (stages) {
    stages->clear();
    for (const StagePlan& stage : stages_) stages->emplace_back(count * stage.floats());
    for (std::vector<float>& rows : *stages) stage_rows.push_back(rows.data());
  }
  while (count > 0) {
    const size_t n = std::min(count, options_.max_batch);
    run_batch(images, n, logits, stages ? stage_rows.data() : nullptr);
    LSRT_TRY(backend_.synchronize(*stream_));
    for (size_t i = 0; i < stage_rows.size(); ++i) stage_rows[i] += n * stages_[i].floats();
    images += n * 3 * image_size() * image_size();
    logits += n * classes();
    count -= n;
  }
  return Status();
}

}  // namespace lsrt
