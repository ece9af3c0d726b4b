// Checkpoints for tests of the converter: the golden ones, changed and written as safetensors.
#pragma once

#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/goldens.h"

namespace lsrt_test {

struct FloatTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};
using Tensors = std::map<std::string, FloatTensor>;

inline Tensors read_tensors(const std::string& path) {
  const auto source = take(TensorSource::open(path));
  Tensors tensors;
  for (const SourceTensor& tensor : source->tensors()) {
    tensors[tensor.name] = {tensor.shape, take(source->read(tensor))};
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

inline std::shared_ptr<const Model> convert_and_load(const std::string& source, const std::string& output,
                                                     const ConvertOptions& options) {
  take(convert(source, output, options));
  return take(Model::load(output));
}

}  // namespace lsrt_test
