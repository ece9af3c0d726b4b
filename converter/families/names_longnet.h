// LongNet encoders of slides: checkpoints of Prov-GigaPath's slide encoder, which is microsoft/torchscale's
// LongNet (arXiv 2307.02486; spec more-mixers, section 3) behind a projection of the tiles.
#pragma once

#include "converter/families/family.h"

namespace lsrt {

// What no tensor tells has the values of Prov-GigaPath unless --config has others.
struct LongnetParameters {
  uint32_t layers = 0, d = 0, hidden = 0, features = 0;
  uint32_t heads = 16;
  std::vector<uint32_t> segments = {1024, 5792, 32768, 185363, 1048576}, ratios = {1, 2, 4, 8, 16};
  uint32_t tile = 256, cells = 1000;  // pixels of a cell, cells on a side of a slide
  bool mean = false;                  // of the tiles, instead of the cls row
};

bool is_longnet(const TensorSource& source, std::string* prefix);
Result<ModelPlan> plan_longnet(const TensorSource& source, const std::string& prefix,
                               const FamilyOptions& options);

// The model of these parameters with the source's weights.
ModelPlan plan_longnet(const LongnetParameters& parameters, const WeightSource& source);

}  // namespace lsrt
