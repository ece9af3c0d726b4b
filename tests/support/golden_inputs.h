// The inputs of the check that conversion stores in a model.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "runtime/api/arrays.h"
#include "runtime/model/model.h"

namespace lsrt_test {

using namespace lsrt;

inline std::vector<Array> golden_inputs(const Model& model) {
  std::vector<Array> inputs;
  for (const TensorView& view : model.golden.inputs) {
    Array array = make_array(std::string(view.name), view.type, {view.shape, view.shape + view.rank});
    std::memcpy(array.bytes.data(), view.data, array.bytes.size());
    inputs.push_back(std::move(array));
  }
  return inputs;
}

}  // namespace lsrt_test
