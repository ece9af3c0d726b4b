// Bidirectional encoders with a classifier: checkpoints of the authors' Long Range Arena code (spec section
// 2).
#pragma once

#include "converter/families/family.h"

namespace lsrt {

struct EncoderParameters {
  uint32_t layers = 0, d = 0, heads = 0, hidden = 0;
  uint32_t vocabulary = 0, max_length = 0;
  uint32_t window = 0, rank = 0, kernel = 0;
  std::vector<bool> full;       // layers with full attention; empty: none
  bool tied = false;            // one set of weights for all layers
  bool cls = false;             // there is a cls row
  bool cls_last_layer = false;  // in the last layer only
  bool pair = false;            // classifies two documents
  int32_t byte_offset = 1;      // token of a byte = byte + byte_offset
  uint32_t classifier_hidden = 0, classes = 0;
  std::vector<std::string> labels;
};

bool is_encoder(const TensorSource& source, std::string* prefix);
Result<ModelPlan> plan_encoder(const TensorSource& source, const std::string& prefix,
                               const FamilyOptions& options);

// The model of these parameters with the source's weights.
ModelPlan plan_encoder(const EncoderParameters& parameters, const WeightSource& source);

}  // namespace lsrt
