// The multi-stage vision transformer and its classifier on a backend (spec section 3): images in, logits out.
// Each block chooses its mixer. Internal; applications call the classifier of lsrt.h.
#pragma once

#include <memory>
#include <vector>

#include "runtime/classify/head.h"
#include "runtime/classify/layer_runner.h"
#include "runtime/classify/vision_layout.h"
#include "runtime/device/backend.h"

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
  // Full attention has one group and no landmarks.
  struct Layer {
    PreparedBlock prepared;
    const Mixer* mixer;
    size_t layout;      // index in layouts_
    size_t bias_count;  // 0: none
    Dev<float> bias;
  };
  struct StagePlan {
    const PatchStem* stem;
    const Linear* projection;
    DeviceNorm norm;
    Dev<const float> cls_tokens, positions;  // may be null
    size_t width, rows;                      // of an image
    std::vector<Layer> layers;

    size_t patch_floats() const { return size_t{stem->channels} * stem->patch * stem->patch; }
  };
  struct Tables {  // of a layout, on the device
    Dev<int32_t> query_rows, key_rows, bias_offsets;
  };
  struct Buffers {
    Dev<float> images;         // [batch, 3, size, size]
    Dev<float> x;              // [batch], image_floats apart: [rows, width], a layer's input, then its output
    Dev<float> attention;      // [rows, width] of one image: queries, then what they found; embedded patches
    Dev<float> patches;        // [grid * grid, patch floats]
    Dev<void> store;           // keys and values of one image and its landmarks
    Dev<float> cls_key_value;  // [2 width]
    Dev<float> landmark_key;   // [rank, width]
    Dev<float> landmark_value;  // [rank, width]
    Dev<float> features;        // [batch, width]
    Dev<float> head_scratch;
    Dev<float> logits;  // [batch, classes]
    size_t image_floats;
  };

  explicit VisionNetwork(Backend& backend) : backend_(backend), runner_(backend) {}
  // Layers, layouts, sizes.
  Status count(const ClassifierOptions& options);
  void count_stage(const Stage& stage);
  size_t bytes() const { return table_bytes_ + scratch_bytes_ + stream_plan_.workspace; }
  // Memory, linear layers.
  Status prepare();
  size_t find_layout(const PatchStem& stem, size_t window);
  Status upload();
  void place_tables(DeviceCarver* carver);
  void place_buffers(DeviceCarver* carver);
  // Extents, without memory.
  KeyValueStore store_of(const StagePlan& stage, const Layer& layer) const;
  GroupedAttention attention_shape(const StagePlan& stage, const Layer& layer) const;
  ClsAttention cls_shape(const StagePlan& stage, const Layer& layer) const;
  void embed(const StagePlan& stage, size_t index, size_t image);
  void run_layer(const StagePlan& stage, const Layer& layer, size_t image);
  void run_batch(const float* images, size_t count, float* logits, float* const* stage_rows);

  std::shared_ptr<Backend> owned_;  // null where only counted
  Backend& backend_;
  std::unique_ptr<HeadRunner> head_;
  ClassifierOptions options_;
  std::vector<VisionLayout> layouts_;
  std::vector<Tables> layout_tables_;
  LayerRunner runner_;
  std::vector<StagePlan> stages_;
  StreamPlan stream_plan_;
  size_t table_bytes_ = 0, scratch_bytes_ = 0;
  Buffers b_{};
  Dev<void> tables_;   // index lists and biases
  Dev<void> scratch_;  // activations
  std::unique_ptr<Stream> stream_;
};

}  // namespace lsrt
