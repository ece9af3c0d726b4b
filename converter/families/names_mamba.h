// Selective state space language models (Mamba): checkpoints in the layouts of the authors and of Hugging
// Face (spec mamba, section 3).
#pragma once

#include <limits>

#include "converter/families/family.h"

namespace lsrt {

struct MambaParameters {
  uint32_t layers = 0, d = 0, inner = 0, states = 0, taps = 0;
  uint32_t rank = 0;                                                      // Mamba-1
  uint32_t heads = 0, groups = 0;                                         // Mamba-2; 0 heads: Mamba-1
  bool d_per_channel = false;                                             // Mamba-2
  float step_min = 0, step_max = std::numeric_limits<float>::infinity();  // Mamba-2
  float eps = 1e-5f;                                                      // of the norms of rows
  float parameter_eps = 0;  // over 0: norms of t, B and C (Falcon-Mamba)
  bool tied = true;         // the head is the embedding
  bool plural = false;      // Hugging Face's name of the embedding
  uint32_t vocabulary_size = 0;
  BytePairVocabulary vocabulary;  // no texts: none
};

bool is_mamba(const TensorSource& source, std::string* prefix);
Result<ModelPlan> plan_mamba(const TensorSource& source, const std::string& prefix,
                             const FamilyOptions& options);

// The model of these parameters with the source's weights.
ModelPlan plan_mamba(const MambaParameters& parameters, const WeightSource& source);

}  // namespace lsrt
