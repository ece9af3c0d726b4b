// Multi-stage vision transformers as model files (spec section 3): stems, full attention, feed-forward, head
// and input, which ViL-LS and Vision Longformer share. What mixes the rows of stages with s = 1, their
// names_*.cc describe.
#pragma once

#include <functional>

#include "converter/families/family.h"
#include "converter/families/vil_architecture.h"

namespace lsrt {

struct VilParameters {
  std::vector<VilStage> stages;
  uint32_t size = 0, resize = 0;  // pixels
  uint32_t classes = 0;
  float eps = 1e-6f;  // of all norms but those of attention
  bool average_pool = false;
  std::vector<std::string> labels;
};

// What a checkpoint does not tell and a configuration may.
struct VilDefaults {
  uint32_t (*resize)(uint32_t size);  // pixels of the resized image's shorter side
  bool any_eps;                       // false: whatever the configuration says
};

Result<VilParameters> vil_parameters(const WeightSource& source, const Config& config,
                                     const FamilyOptions& options, const VilDefaults& defaults);

// What all models of images share. An image for the golden: waves of several lengths in three colours, in the
// range of normalised photographs.
std::vector<Array> image_golden_inputs(uint32_t size);
// One of each class or none: given, else of the configuration. Errors: kCheckpoint (another number; not
// texts).
Result<std::vector<std::string>> image_labels(const FamilyOptions& options, const Config& config,
                                              uint32_t classes, const std::string& path);
// ImageNet's mean and deviation.
flatbuffers::Offset<fb::ImageInput> describe_image_input(ModelBuilder& b, uint32_t size, uint32_t resize);

// The mixer of a layer of a stage with s = 1; `name` is the prefix of its tensors.
using DescribeWindowed =
    std::function<ModelBuilder::MixerTable(ModelBuilder&, const VilStage&, const std::string& name)>;

// The model of these parameters with the source's weights. title: what people call it.
ModelPlan plan_vil_model(const char* title, const VilParameters& parameters, const WeightSource& source,
                         const DescribeWindowed& windowed);

// Parts of mixers: NAME qkv, the queries scaled, and the bias table of vil_tables.h.
ModelBuilder::Rows vil_qkv_rows(ModelBuilder& b, const VilStage& stage, const std::string& name);
flatbuffers::Offset<fb::Tensor> describe_relative_bias(ModelBuilder& b, const std::string& name,
                                                       uint32_t query_side, uint32_t key_side,
                                                       uint32_t heads);

}  // namespace lsrt
