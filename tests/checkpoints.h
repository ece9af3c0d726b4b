// Checkpoints for tests of the converter: the golden ones, changed and written as safetensors.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "converter/convert.h"
#include "converter/tensor_source.h"
#include "runtime/model.h"

namespace lsrt {

// A folder that is removed with the object.
class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lsrt-convert-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  size_t files() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      count += entry.is_regular_file() ? 1 : 0;
    return count;
  }

 private:
  std::string path_;
};

inline std::string golden_file(const std::string& name, const std::string& file) {
  return std::string(LSRT_TEST_DATA) + "/golden/" + name + "/" + file;
}

inline std::string golden_checkpoint(const std::string& name) {
  for (const char* file : {"checkpoint.pt", "checkpoint.pth", "checkpoint.model"}) {
    if (std::filesystem::exists(golden_file(name, file))) return golden_file(name, file);
  }
  return golden_file(name, "checkpoint");
}

struct FloatTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};
using Tensors = std::map<std::string, FloatTensor>;

inline Tensors read_tensors(const std::string& path) {
  auto source = TensorSource::open(path);
  REQUIRE_MESSAGE(source.ok(), source.status().message());
  Tensors tensors;
  for (const SourceTensor& tensor : source.value()->tensors()) {
    auto values = source.value()->read(tensor);
    REQUIRE_MESSAGE(values.ok(), values.status().message());
    tensors[tensor.name] = {tensor.shape, values.take()};
  }
  return tensors;
}

// All as float32, but relative_position_index, which must be integers.
inline void write_safetensors(const std::string& path, const Tensors& tensors) {
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const bool is_index = name.find("relative_position_index") != std::string::npos;
    const size_t begin = data.size();
    for (float value : tensor.values) {
      char bytes[sizeof(int64_t)];
      std::memcpy(bytes, &value, sizeof value);
      if (is_index) {
        const auto integer = static_cast<int64_t>(value);
        std::memcpy(bytes, &integer, sizeof integer);
      }
      data.append(bytes, is_index ? sizeof(int64_t) : sizeof value);
    }
    header[name] = {
        {"dtype", is_index ? "I64" : "F32"}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  const uint64_t size = text.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), sizeof size);
  file << text << data;
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::shared_ptr<const Model> convert_and_load(const std::string& source, const std::string& output,
                                                     const ConvertOptions& options) {
  const Result<ConvertReport> report = convert(source, output, options);
  REQUIRE_MESSAGE(report.ok(), report.status().message());
  Result<std::shared_ptr<const Model>> model = Model::load(output);
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  return model.take();
}

inline ConvertOptions golden_options(const std::string& name, Precision precision) {
  ConvertOptions options;
  options.precision = precision;
  options.config_path = golden_file(name, "case.json");
  return options;
}

}  // namespace lsrt
