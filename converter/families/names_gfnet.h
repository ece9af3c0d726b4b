// GFNet: checkpoints of raoyongming/GFNet (arXiv 2107.00645; spec more-mixers, section 2), flat ones and
// pyramids.
#pragma once

#include "converter/families/vil_model.h"

namespace lsrt {

struct GfnetParameters {
  struct Stage {
    uint32_t width, patch, grid, blocks;
  };
  std::vector<Stage> stages;
  bool pyramid = false;           // how tensors are named
  uint32_t size = 0, resize = 0;  // pixels
  uint32_t classes = 0;
  std::vector<std::string> labels;
};

bool is_gfnet(const TensorSource& source, std::string* prefix);
Result<ModelPlan> plan_gfnet(const TensorSource& source, const std::string& prefix,
                             const FamilyOptions& options);

// The model of these parameters with the source's weights.
ModelPlan plan_gfnet(const GfnetParameters& parameters, const WeightSource& source);

// What the authors' code does with an image of `size` pixels: 256 for 224.
uint32_t gfnet_resize(uint32_t size);

}  // namespace lsrt
