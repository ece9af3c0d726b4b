// The stages of a ViL-LS model or a Vision Longformer: from the authors' architecture string, or from the
// shapes of a checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "converter/writer/model_builder.h"

namespace lsrt {

// The letters are those of the architecture string.
struct VilStage {
  uint32_t heads = 3;       // h
  uint32_t width = 192;     // d
  uint32_t blocks = 1;      // n
  bool windowed = true;     // s: long-short attention, or windows with global rows; else full attention
  uint32_t cls_tokens = 1;  // g
  uint32_t patch = 2;       // p
  uint32_t window = 7;      // f, of windowed stages
  bool absolute = true;     // a; else relative bias
  uint32_t rank = 0;        // r, of long-short attention
};

// "l1,h3,d96,n1,s1,g1,p4,f7,a0,r8_l2,...": one part a stage. Once a stage has full attention, all later ones
// have.
Result<std::vector<VilStage>> parse_vil_architecture(const std::string& text);
std::string vil_architecture_text(const std::vector<VilStage>& stages);

// What the shapes tell. Heads and window are 0 where they do not: with absolute positions, the heads of a
// stage without relative bias and the window.
std::vector<VilStage> vil_stages_from_shapes(const WeightSource& source);

// Fills in what shapes did not tell, and makes sure that all they told agrees. `origin` is for messages.
Status merge_vil_stages(const std::vector<VilStage>& given, const std::string& origin,
                        std::vector<VilStage>* stages);

}  // namespace lsrt
