// What tests of models share: the golden cases, converted, and their arrays.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "converter/convert.h"
#include "converter/tensor_source.h"
#include "runtime/arrays.h"
#include "runtime/model.h"

namespace lsrt_test {

// The value of a result that must be there.
template <typename T>
T take(lsrt::Result<T> result) {
  INFO(result.status().message());
  REQUIRE(result.ok());
  return result.take();
}

inline std::string golden_path(const std::string& name, const std::string& file) {
  return std::string(LSRT_TEST_DATA) + "/golden/" + name + "/" + file;
}

// A path in the temporary folder that is removed with the object.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& suffix) {
    static int count = 0;
    const char* folder = std::getenv("TMPDIR");
    path_ = std::string(folder ? folder : "/tmp") + "/lsrt-test-" + std::to_string(getpid()) + "-" +
            std::to_string(count++) + suffix;
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::shared_ptr<const lsrt::Model> convert_checkpoint(const std::string& checkpoint,
                                                             const lsrt::ConvertOptions& options) {
  TemporaryFile file(".lsrt");
  take(lsrt::convert(checkpoint, file.path(), options));
  return take(lsrt::Model::load(file.path()));  // stays mapped when the name is gone
}

// A golden case as a model. precision: "int8" or "float32".
inline std::shared_ptr<const lsrt::Model> convert_golden(const std::string& name,
                                                         const std::string& precision) {
  lsrt::ConvertOptions options;
  options.precision = precision == "int8" ? lsrt::Precision::kInt8 : lsrt::Precision::kFloat32;
  options.config_path = golden_path(name, "case.json");
  for (const char* file : {"checkpoint.pt", "checkpoint.pth", "checkpoint.model"}) {
    if (std::ifstream(golden_path(name, file))) return convert_checkpoint(golden_path(name, file), options);
  }
  FAIL("no checkpoint of golden " << name);
  return nullptr;
}

// An array of a golden's io.safetensors: float32, or integers as int32.
inline lsrt::Array golden_array(const std::string& name, const std::string& array) {
  auto source = take(lsrt::TensorSource::open(golden_path(name, "io.safetensors")));
  const lsrt::SourceTensor* tensor = source->find(array);
  INFO(name << ": " << array);
  REQUIRE(tensor);
  std::vector<uint32_t> shape(tensor->shape.begin(), tensor->shape.end());
  if (tensor->type == lsrt::SourceType::f32) {
    lsrt::Array result = lsrt::make_array(array, lsrt::DataType::kFloat32, shape);
    std::vector<float> values = take(source->read(*tensor));
    std::memcpy(result.bytes.data(), values.data(), result.bytes.size());
    return result;
  }
  lsrt::Array result = lsrt::make_array(array, lsrt::DataType::kInt32, shape);
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
