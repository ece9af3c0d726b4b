// Multi-Scale Vision Longformer: checkpoints of microsoft/vision-longformer (arXiv 2103.15358, spec
// more-mixers, section 1).
#pragma once

#include <set>

#include "converter/families/vil_model.h"

namespace lsrt {

struct LongformerParameters {
  VilParameters vil;
  fb::WindowEdge edge = fb::WindowEdge::cut;  // SW_EXACT
  bool neighbours = true;                     // false: a window sees its own group only (MODE -1)
  // Layers ("layer1.1.attn.") whose global rows have weights of their own.
  std::set<std::string> own_globals;
};

bool is_longformer(const TensorSource& source, std::string* prefix);
Result<ModelPlan> plan_longformer(const TensorSource& source, const std::string& prefix,
                                  const FamilyOptions& options);

// The model of these parameters with the source's weights.
ModelPlan plan_longformer(const LongformerParameters& parameters, const WeightSource& source);

}  // namespace lsrt
