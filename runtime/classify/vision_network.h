// A multi-stage network of images and its classifier on a backend (spec section 3): images in, logits out.
// What a layer's mixer is it need not know: runtime/mixers/image_layer.h. Internal; applications call the
// classifier of lsrt.h.
#pragma once

#include <memory>
#include <vector>

#include "runtime/classify/head.h"
#include "runtime/device/backend.h"
#include "runtime/mixers/image_layer.h"

namespace lsrt {

class VisionNetwork {
 public:
  // Bytes that create() will allocate for activations, tables and the backend's workspace; errors as
  // create().
  static Result<size_t> plan(Backend& backend, const ClassifierOptions& options);
  // Allocates all memory; after this nothing is allocated. Errors: kArgument (not a vision model, max_batch
  // is 0), kMemory (also beyond max_bytes).
  static Result<std::unique_ptr<VisionNetwork>> create(std::shared_ptr<Backend> backend,
                                                       const ClassifierOptions& options);
  ~VisionNetwork();

  const Model& model() const { return backend_.model(); }
  size_t classes() const { return head_->classes(); }
  size_t image_size() const { return model().image.size; }

  // logits[count, classes] of images[count, 3, size, size], normalised, on the host. stages: null, or set to
  // the rows [count, rows, width] after every stage.
  Status run(const float* images, size_t count, float* logits,
             std::vector<std::vector<float>>* stages = nullptr);

 private:
  struct StagePlan {
    const PatchStem* stem;
    const Linear* projection;
    DeviceNorm norm;
    Dev<const float> cls_tokens, positions;  // may be null
    ImageExtents extents;
    std::vector<std::unique_ptr<ImageLayer>> layers;
    // Scratch of the stem, where that of the layers is, too.
    Dev<float> patches;   // [grid * grid, patch floats]
    Dev<float> embedded;  // [grid * grid, width]

    size_t patch_floats() const { return size_t{stem->channels} * stem->patch * stem->patch; }
    size_t floats() const { return extents.rows() * extents.width; }
  };
  struct Buffers {
    Dev<float> images;    // [batch, 3, size, size]
    Dev<float> x;         // [batch], image_floats apart: [rows, width], a layer's input, then its output
    Dev<float> features;  // [batch, width]
    Dev<float> head_scratch;
    Dev<float> logits;  // [batch, classes]
    size_t image_floats;
  };

  explicit VisionNetwork(Backend& backend) : backend_(backend) {}
  // Layers, sizes.
  Status count(const ClassifierOptions& options);
  Status count_stage(const Stage& stage);
  size_t bytes() const { return table_bytes_ + scratch_bytes_ + stream_plan_.workspace; }
  // Memory, linear layers.
  Status prepare();
  void place_tables(DeviceCarver* carver);
  void place_buffers(DeviceCarver* carver);
  void embed(const StagePlan& stage, size_t index, size_t image);
  void run_batch(const float* images, size_t count, float* logits, float* const* stage_rows);

  std::shared_ptr<Backend> owned_;  // null where only counted
  Backend& backend_;
  std::unique_ptr<HeadRunner> head_;
  ClassifierOptions options_;
  VisionLayouts layouts_;
  std::vector<StagePlan> stages_;
  StreamPlan stream_plan_;
  size_t table_bytes_ = 0, scratch_bytes_ = 0;
  Buffers b_{};
  Dev<void> tables_;   // index lists and biases
  Dev<void> scratch_;  // activations
  std::unique_ptr<Stream> stream_;
};

}  // namespace lsrt
