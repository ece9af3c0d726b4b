// The multi-stage vision transformer and its classifier on a backend (spec section 3): images in, logits out.
// Each block chooses its mixer. Internal; applications call the classifier of lsrt.h.
#pragma once

#include <memory>
#include <vector>

#include "runtime/backend.h"
#include "runtime/carver.h"
#include "runtime/classifier_head.h"
#include "runtime/layer_runner.h"
#include "runtime/vision_layout.h"

namespace lsrt {

class VisionNetwork {
 public:
  // Bytes that create() will allocate for activations, tables and the backend's workspace; errors as
  // create().
  static Result<size_t> plan(const Model& model, Backend& backend, const ClassifierOptions& options);
  // Allocates all memory; after this nothing is allocated. Errors: kArgument (not a vision model, max_batch
  // is 0), kUnsupported (blocks with another residual than pre_norm, images of too many patches), kMemory.
  static Result<std::unique_ptr<VisionNetwork>> create(std::shared_ptr<const Model> model,
                                                       std::shared_ptr<Backend> backend,
                                                       const ClassifierOptions& options);
  ~VisionNetwork();

  size_t classes() const { return head_->classes(); }
  size_t image_size() const { return model_->image.size; }

  // logits[count, classes] of images[count, 3, size, size], normalised, on the host. stages: null, or set to
  // the rows [count, rows, width] after every stage.
  Status run(const float* images, size_t count, float* logits,
             std::vector<std::vector<float>>* stages = nullptr);

 private:
  // Full attention has one group and no landmarks.
  struct Layer {
    PreparedBlock prepared;
    const NormView *norm_keys, *norm_summary;
    size_t layout;              // index in layouts_
    std::vector<float> biases;  // until create() has copied them
    const float* bias;
  };
  struct StagePlan {
    const PatchStem* stem;
    const Linear* projection;
    size_t width, rows;  // of an image
    std::vector<Layer> layers;

    size_t patch_floats() const { return size_t{stem->channels} * stem->patch * stem->patch; }
  };
  struct Tables {  // of a layout, on the device
    int32_t *query_rows, *key_rows, *bias_offsets;
  };
  struct Buffers {
    float* images;          // [batch, 3, size, size]
    float* x;               // [batch], image_floats apart: [rows, width], a layer's input, then its output
    float* attention;       // [rows, width] of one image: queries, then what they found; embedded patches
    float* patches;         // [grid * grid, patch floats]
    void* store;            // keys and values of one image and its landmarks
    float* cls_key_value;   // [2 width]
    float* landmark_key;    // [rank, width]
    float* landmark_value;  // [rank, width]
    float* features;        // [batch, width]
    float* head_scratch;
    float* logits;  // [batch, classes]
    size_t image_floats;
  };

  VisionNetwork(std::shared_ptr<const Model> model, std::shared_ptr<Backend> backend);
  Status prepare(const ClassifierOptions& options);
  Status prepare_stage(const Stage& stage, size_t index);
  Result<size_t> find_layout(const PatchStem& stem, size_t window, size_t stage);
  Status upload();
  void place_tables(Carver* carver);
  void place_buffers(Carver* carver);
  size_t workspace_bytes(const StagePlan& stage, const Layer& layer) const;
  // Extents, without memory.
  KeyValueStore store_of(const StagePlan& stage, const Layer& layer) const;
  GroupedAttention attention_shape(const StagePlan& stage, const Layer& layer) const;
  ClsAttention cls_shape(const StagePlan& stage, const Layer& layer) const;
  void embed(const StagePlan& stage, size_t index, size_t image);
  void run_layer(const StagePlan& stage, const Layer& layer, size_t image);
  void run_batch(const float* images, size_t count, float* logits, float* const* stage_rows);

  std::shared_ptr<const Model> model_;
  std::shared_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<HeadRunner> head_;
  ClassifierOptions options_;
  std::vector<VisionLayout> layouts_;
  std::vector<Tables> layout_tables_;
  LayerRunner runner_;
  std::vector<StagePlan> stages_;
  size_t workspace_bytes_ = 0;
  Buffers b_{};
  void* tables_ = nullptr;   // index lists and biases
  void* scratch_ = nullptr;  // activations
};

}  // namespace lsrt
