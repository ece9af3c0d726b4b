// What happens to a checkpoint that can be read: all of its tensors, then a model of whichever family it
// claims.
#pragma once

#include <memory>

#include "converter/families/names_encoder.h"
#include "converter/families/names_gfnet.h"
#include "converter/families/names_lm.h"
#include "converter/families/names_longformer.h"
#include "converter/families/names_longnet.h"
#include "converter/families/names_mamba.h"
#include "converter/families/names_vil.h"
#include "fuzz/fuzz.h"
#include "tests/support/tiny_models.h"

namespace lsrt_fuzz {

using namespace lsrt;

inline void plan_and_write(const TensorSource& source, const FamilyOptions& options) {
  struct {
    bool (*recognise)(const TensorSource&, std::string*);
    Result<ModelPlan> (*plan)(const TensorSource&, const std::string&, const FamilyOptions&);
  } const families[] = {{is_lm, plan_lm},          {is_encoder, plan_encoder},       {is_mamba, plan_mamba},
                        {is_vil, plan_vil},        {is_longformer, plan_longformer}, {is_gfnet, plan_gfnet},
                        {is_longnet, plan_longnet}};
  for (const auto& family : families) {
    std::string prefix;
    if (!family.recognise(source, &prefix)) continue;
    const auto plan = family.plan(source, prefix, options);
    if (!plan.ok()) continue;
    // Refused while it is written, or a model that loads: the loader's checks are the converter's as well.
    for (const Precision precision : {Precision::kInt8, Precision::kFloat32}) {
      ModelBytes bytes = lsrt_test::tiny_model(plan.value(), precision, {}, {});
      if (bytes.empty()) continue;
      const auto loaded = Model::load_bytes(std::move(bytes), "written");
      require(loaded.ok() || loaded.status().code() == Error::kModel, "it loads or is no valid model");
      // Only what loads bounds the image that is made for the check.
      if (loaded.ok() && loaded.value()->image.size <= 256)
        require(!plan.value().golden_inputs().empty(), "there is a check");
    }
  }
}

// Reads every tensor, up to a million elements in all: many may be views of one storage. Whether there were
// no more.
inline bool read_tensors(const TensorSource& source) {
  size_t elements = 0;
  for (const SourceTensor& tensor : source.tensors()) {
    require(source.find(tensor.name) == &tensor, "every tensor is found by its name");
    if ((elements += tensor.count()) > (1 << 20)) return false;
    const auto values = source.read(tensor);
    if (values.ok())
      require(values.value().size() == static_cast<size_t>(tensor.count()), "all elements are read");
    const auto integers = source.read_integers(tensor);
    if (integers.ok())
      require(integers.value().size() == static_cast<size_t>(tensor.count()), "all integers are");
    require(source.same(tensor, tensor), "a tensor is the same as itself");
  }
  return true;
}

inline void read_checkpoint(const uint8_t* data, size_t size) {
  const auto opened = TensorSource::read(Bytes{"fuzz", data, size});
  if (!opened.ok()) {
    require(opened.status().message().find("fuzz") == 0, "a refusal names the file first");
    return;
  }
  const TensorSource& source = *opened.value();
  require(source.metadata().is_object(), "metadata is an object");
  for (const SourceTensor& tensor : source.tensors()) {
    require(static_cast<uint64_t>(tensor.count()) <= size,
            "no tensor has more elements than its file has bytes");
  }
  if (!read_tensors(source)) return;
  FamilyOptions options;
  options.dict_path = LSRT_TEST_DATA "/golden/lm-rank0/dict.txt";
  plan_and_write(source, options);
}

}  // namespace lsrt_fuzz
