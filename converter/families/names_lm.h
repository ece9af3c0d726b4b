// Causal language models: checkpoints of the authors' fairseq code (spec section 1).
#pragma once

#include "converter/families/family.h"

namespace lsrt {

struct LmParameters {
  uint32_t layers = 0, d = 0, heads = 0, hidden = 0;
  uint32_t chunk = 0, rank = 0, window = 0;
  uint32_t block = 0, memory = 0;  // tokens
  int32_t clamp = -1, chunk_clamp = -1;
  bool pre_ln = false, gelu = false, bias = false;
  std::vector<bool> full;               // layers that see every token of the memory instead; empty: none
  bool tied = true;                     // out_emb.weight is in_emb.weight
  std::vector<std::string> vocabulary;  // text by token id
};

bool is_lm(const TensorSource& source, std::string* prefix);
Result<ModelPlan> plan_lm(const TensorSource& source, const std::string& prefix,
                          const FamilyOptions& options);

// The model of these parameters with the source's weights.
ModelPlan plan_lm(const LmParameters& parameters, const WeightSource& source);

}  // namespace lsrt
