// What the parts of a model are made of: arrays of the file, linear layers, norms. They point into its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernels/gemm/gemm.h"

namespace lsrt {

enum class DataType : uint8_t { kFloat32 = 0, kInt8 = 1, kInt32 = 2, kUint8 = 3 };
enum class NormKind : uint8_t { kLayer = 0, kRms = 1 };
enum class Activation : uint8_t { kNone = 0, kRelu = 1, kGelu = 2 };

// An array in the file; data is null where the model has none.
struct TensorView {
  std::string_view name;
  const void* data = nullptr;
  const float* scales = nullptr;  // int8: per row, padded to 16 in each group
  const int32_t* sums = nullptr;  // int8: per row, padded to 16 in each group
  DataType type = DataType::kFloat32;
  uint32_t rank = 0;
  uint32_t shape[4] = {0, 0, 0, 0};

  explicit operator bool() const { return data != nullptr; }
  // Null unless the type is float32.
  const float* floats() const {
    return type == DataType::kFloat32 ? static_cast<const float*>(data) : nullptr;
  }
  size_t elements() const;
  size_t bytes() const;  // of data, scales and sums
  // Group `g` of an int8 tensor of rank 2 (g = 0) or 3 as weights; no outputs at all unless the type is int8.
  PanelWeights panels(size_t g = 0, const float* bias = nullptr) const;
};

struct LinearView {
  TensorView weight;            // [outputs, inputs]
  const float* bias = nullptr;  // [outputs] or null
  size_t outputs = 0, inputs = 0;
};

struct NormView {
  const float* gamma = nullptr;
  const float* beta = nullptr;  // null if kind is kRms
  float eps = 0;                // 0: no norm
  NormKind kind = NormKind::kLayer;
  explicit operator bool() const { return eps > 0; }
};

}  // namespace lsrt
