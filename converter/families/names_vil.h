// Multi-stage vision transformers with long-short attention: checkpoints of the authors' ViL-LS code (spec
// section 3).
#pragma once

#include "converter/families/vil_model.h"

namespace lsrt {

bool is_vil(const TensorSource& source, std::string* prefix);
Result<ModelPlan> plan_vil(const TensorSource& source, const std::string& prefix,
                           const FamilyOptions& options);

// The model of these parameters with the source's weights.
ModelPlan plan_vil(const VilParameters& parameters, const WeightSource& source);

}  // namespace lsrt
