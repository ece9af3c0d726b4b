#include "converter/writer/random_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/gemm/gemm.h"

namespace lsrt {
namespace {

// splitmix64: each value depends on the counter alone, so that the compiler can work on several at once.
class Random {
 public:
  explicit Random(const std::string& name) {
    for (char c : name) state_ = (state_ ^ static_cast<uint8_t>(c)) * 0x100000001b3;  // FNV-1a
  }

  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_ = 0xcbf29ce484222325;
};

float bound(uint32_t columns) { return std::sqrt(3.0f / static_cast<float>(columns)); }

}  // namespace

TensorBytes random_floats(const std::string& name, const std::vector<uint32_t>& shape) {
  Random random(name);
  const float scale = bound(shape.back()) / 2147483648.0f;
  std::vector<float> values(tensor_sizes(DataType::kFloat32, shape).data / sizeof(float));
  for (float& value : values) value = static_cast<float>(static_cast<int32_t>(random.next() >> 32)) * scale;
  TensorBytes bytes;
  bytes.data.resize(values.size() * sizeof(float));
  std::memcpy(bytes.data.data(), values.data(), bytes.data.size());
  return bytes;
}

TensorBytes random_int8(const std::string& name, const std::vector<uint32_t>& shape) {
  const uint32_t rows = shape[shape.size() - 2], columns = shape.back();
  const TensorSizes sizes = tensor_sizes(DataType::kInt8, shape);
  const size_t row_count = sizes.scales / sizeof(float);  // padding included
  TensorBytes bytes;
  bytes.data.resize(sizes.data);
  bytes.scales.assign(row_count, 0);
  bytes.sums.assign(row_count, 0);
  Random random(name);
  for (size_t i = 0; i < bytes.data.size(); i += sizeof(uint64_t)) {
    const uint64_t value = random.next();
    std::memcpy(&bytes.data[i], &value, sizeof value);
  }
  const size_t group_rows = round_up(rows, kPanelOutputs);
  for (size_t row = 0; row < row_count; row++) {
    const size_t used = row % group_rows < rows ? columns : 0;
    int32_t sum = 0;
    for (size_t k = 0; k < round_up(columns, kPanelDepth); k++) {
      uint8_t& byte = bytes.data[panel_offset(row, k, columns)];
      const int value = k < used ? std::max<int>(static_cast<int8_t>(byte), -127) : 0;
      byte = static_cast<uint8_t>(static_cast<int8_t>(value));
      sum += value;
    }
    bytes.sums[row] = sum;
    bytes.scales[row] = used > 0 ? bound(columns) / 127 : 0;
  }
  return bytes;
}

}  // namespace lsrt
