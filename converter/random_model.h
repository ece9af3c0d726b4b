// Models of published shapes with random weights, for measuring speed and memory without a checkpoint.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "converter/families/family.h"
#include "converter/writer/quantize.h"
#include "runtime/model/model.h"

namespace lsrt {

struct RandomModelOptions {
  Precision precision = Precision::kInt8;
  uint32_t block = 0;       // of language models, tokens; 0: 256
  uint32_t memory = 0;      // of language models, tokens; 0: 8192
  uint32_t max_length = 0;  // of lra, tokens; 0: 4096
};

// A whole model file in memory, for Model::load_bytes(). Error::kArgument: no such architecture; the text
// lists them.
//   enwik8-base, enwik8-large   language models of bytes: 12 or 30 layers, d 512, 8 heads, window 512,
//                               chunk 16, rank 1; 260 tokens: 256 bytes and the four special ones
//   vil-ls-medium-224, vil-ls-base-224, vil-ls-medium-384   ImageNet classifiers, 1000 classes
//   longformer-small-224, longformer-medium-224 (deep)       the same of Vision Longformer
//   gfnet-ti, -xs, -s, -b, -h-ti, -h-s, -h-b                 ImageNet classifiers of filters
//   gigapath-slide                                           Prov-GigaPath's encoder of slides
//   mamba-130m, -370m, -790m, -1.4b, -2.8b    language models of state-spaces/mamba, 50280 tokens
//   mamba2-130m, -370m, -780m, -1.3b, -2.7b   those of Mamba-2, 50288 tokens
//   lra                         ListOps: 2 layers, d 64, 2 heads, window 8, 32 landmarks, 10 classes
Result<ModelBytes> random_model(const std::string& architecture, const RandomModelOptions& options);
// Of any shape: a plan without a checkpoint.
Result<ModelBytes> random_model(const ModelPlan& plan, Precision precision);

}  // namespace lsrt
