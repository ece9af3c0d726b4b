// The golden of a model file: inputs and the float model's outputs, stored at conversion, replayed by `lsrt
// verify`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "converter/families/family.h"
#include "converter/writer/model_writer.h"
#include "runtime/api/arrays.h"

namespace lsrt {

struct GoldenArrays {
  std::vector<Array> inputs, outputs;
};

// What models that were just written are run on, with the weights of one layer in memory at a time.
Result<std::shared_ptr<Backend>> check_backend(const std::shared_ptr<const Model>& model);

// Runs the float32 model of the plan on the plan's inputs.
Result<GoldenArrays> make_golden(const ModelPlan& plan, const std::shared_ptr<const Model>& model,
                                 const ArrayOptions& options);

flatbuffers::Offset<fb::Golden> describe_golden(ModelWriter& writer, const GoldenArrays& golden);

// Where a number of the golden lies in a header that has one: fb::Golden::VT_MAX_DIFFERENCE or VT_DIGEST.
uint64_t golden_offset(const std::vector<uint8_t>& header, flatbuffers::voffset_t field);

// The root table. `golden` may be 0.
flatbuffers::Offset<fb::Model> describe_model(ModelWriter& writer, Family family, const ModelParts& parts,
                                              const Provenance& origin,
                                              flatbuffers::Offset<fb::Golden> golden);

}  // namespace lsrt
