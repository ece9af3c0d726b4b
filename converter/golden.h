// The golden of a model file: inputs and the float model's outputs, stored at conversion, replayed by `lsrt
// verify`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "converter/family.h"
#include "converter/model_writer.h"
#include "converter/report.h"
#include "runtime/arrays.h"
#include "runtime/status.h"

namespace lsrt {

struct GoldenArrays {
  std::vector<Array> inputs, outputs;
};

// Runs the float32 model of the plan on the plan's inputs.
Result<GoldenArrays> make_golden(const ModelPlan& plan, const std::shared_ptr<const Model>& model,
                                 uint32_t threads);

// How far the model's outputs lie from the golden ones.
Result<OutputDifference> compare_with_golden(const std::shared_ptr<const Model>& model,
                                             const GoldenArrays& golden, uint32_t threads);

flatbuffers::Offset<fb::Golden> describe_golden(ModelWriter& writer, const GoldenArrays& golden);

// Where Golden.max_difference lies in a header that has a golden.
uint64_t max_difference_offset(const std::vector<uint8_t>& header);

// The root table. `golden` may be 0.
flatbuffers::Offset<fb::Model> describe_model(ModelWriter& writer, const std::string& family,
                                              const ModelParts& parts, const Provenance& origin,
                                              flatbuffers::Offset<fb::Golden> golden);

}  // namespace lsrt
