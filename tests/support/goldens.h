// What tests of models share: the golden cases, converted, and their arrays.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/compare.h"
#include "converter/convert.h"
#include "converter/source/tensor_source.h"
#include "runtime/api/arrays.h"
#include "runtime/model/model.h"
#include "tests/support/files.h"
#include "tests/support/take.h"

namespace lsrt_test {

using namespace lsrt;

// The golden cases of a family, "lm", "mamba", "vil", "encoder" or "slide", or all, in the order of their
// names.
inline std::vector<std::string> golden_names(const std::string& family = "") {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(data_path("golden"))) {
    std::ifstream file(entry.path() / "case.json");
    if (!file) continue;
    const std::string found = nlohmann::json::parse(file)["family"];
    if (family.empty() || found == family || (found == "lra" && family == "encoder") ||
        ((found == "vil-longformer" || found == "gfnet") && family == "vil") ||
        (found == "longnet" && family == "slide"))
      names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  REQUIRE(names.size() >= 2);
  return names;
}

// The largest difference of two arrays of one shape.
inline float difference(const Array& a, const Array& b) {
  REQUIRE(a.shape == b.shape);
  return largest_difference(a.floats(), b.floats(), a.elements());
}
template <typename A, typename B>
auto difference(const std::vector<A>& a, const std::vector<B>& b) {
  REQUIRE(a.size() == b.size());
  return largest_difference(a.data(), b.data(), a.size());
}

inline std::shared_ptr<const Model> convert_checkpoint(const std::string& checkpoint,
                                                       const ConvertOptions& options) {
  const TemporaryFolder folder;
  take(convert(checkpoint, folder / "m.lsrt", options));
  return take(Model::load(folder / "m.lsrt"));  // stays mapped when the name is gone
}

inline ConvertOptions golden_options(const std::string& name, Precision precision) {
  ConvertOptions options;
  options.precision = precision;
  options.config_path = golden_path(name, "case.json");
  return options;
}

// A golden case as a model.
inline std::shared_ptr<const Model> convert_golden(const std::string& name, Precision precision) {
  return convert_checkpoint(golden_checkpoint(name), golden_options(name, precision));
}
inline std::shared_ptr<const Model> convert_golden(const std::string& name, const std::string& precision) {
  return convert_golden(name, precision == "int8" ? Precision::kInt8 : Precision::kFloat32);
}

inline bool has_golden_array(const std::string& name, const std::string& array) {
  return take(TensorSource::open(golden_path(name, "io.safetensors")))->find(array) != nullptr;
}

// An array of a golden's io.safetensors: float32, or integers as int32.
inline Array golden_array(const std::string& name, const std::string& array) {
  auto source = take(TensorSource::open(golden_path(name, "io.safetensors")));
  const SourceTensor* tensor = source->find(array);
  INFO(name << ": " << array);
  REQUIRE(tensor);
  std::vector<uint32_t> shape(tensor->shape.begin(), tensor->shape.end());
  if (tensor->type == SourceType::f32) {
    Array result = make_array(array, DataType::kFloat32, shape);
    std::vector<float> values = take(source->read(*tensor));
    std::memcpy(result.bytes.data(), values.data(), result.bytes.size());
    return result;
  }
  Array result = make_array(array, DataType::kInt32, shape);
  std::vector<int64_t> values = take(source->read_integers(*tensor));
  for (size_t i = 0; i < values.size(); ++i) reinterpret_cast<int32_t*>(result.bytes.data())[i] = values[i];
  return result;
}

struct Run {
  uint32_t block, memory;
};

// Block and memory lengths of a language model's golden.
inline std::vector<Run> golden_runs(const std::string& name) {
  std::ifstream file(golden_path(name, "case.json"));
  auto json = nlohmann::json::parse(file);
  std::vector<Run> runs;
  for (const auto& run : json["runs"]) runs.push_back({run["block"], run["mem_len"]});
  return runs;
}

}  // namespace lsrt_test
