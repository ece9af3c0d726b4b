// Multi-stage vision transformers: checkpoints of the authors' ViL-LS code (spec section 3).
#pragma once

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

bool is_vil(const TensorSource& source, std::string* prefix);
Result<ModelPlan> plan_vil(const TensorSource& source, const std::string& prefix,
                           const FamilyOptions& options);

// The model of these parameters with the source's weights.
ModelPlan plan_vil(const VilParameters& parameters, const WeightSource& source);

}  // namespace lsrt
