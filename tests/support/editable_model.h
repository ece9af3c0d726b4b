// Model files that are changed in place, and the loader's answer to them.
#pragma once

#include <doctest/doctest.h>

#include <cstring>

#include "tests/support/tiny_models.h"

namespace lsrt_test {

// Loads, and if that works reads the ends of every array, so that a sanitizer sees any that leave the file.
inline Status load(const ModelBytes& bytes) {
  const Result<std::shared_ptr<const Model>> model = Model::load_bytes(bytes, "tiny.lsrt");
  if (!model.ok()) return model.status();
  volatile uint8_t last = 0;
  for (const TensorView& tensor : model.value()->tensors()) {
    const auto* data = static_cast<const uint8_t*>(tensor.data);
    if (tensor.type != DataType::kInt8) {
      last = data[tensor.bytes() - 1];
      continue;
    }
    const size_t groups = tensor.rank == 3 ? tensor.shape[0] : 1;
    const PanelWeights panels = tensor.panels(groups - 1);
    last = static_cast<uint8_t>(panels.data[panel_count(panels.outputs) * panel_bytes(panels.depth) - 1]);
    last = static_cast<uint8_t>(panels.sum[round_up(panels.outputs, kPanelOutputs) - 1]);
  }
  (void)last;
  return {};
}

inline void check_refused(const ModelBytes& bytes, Error code, const std::string& text) {
  const Status status = load(bytes);
  INFO(status.message());
  CHECK(status.code() == code);
  CHECK(status.message().find(text) != std::string::npos);
  CHECK(status.message().find("tiny.lsrt: ") == 0);
}

// A model whose header can be edited in place.
struct Editable {
  ModelBytes bytes;

  const fb::Model* root() const { return fb::GetModel(bytes.data()); }
  const fb::Block* block(size_t stage = 0) const { return root()->stages()->Get(stage)->blocks()->Get(0); }

  template <typename T>
  void set(const void* table, flatbuffers::voffset_t field, T value) {
    auto* at = const_cast<uint8_t*>(static_cast<const flatbuffers::Table*>(table)->GetAddressOf(field));
    REQUIRE(at != nullptr);
    std::memcpy(at, &value, sizeof value);
  }
  // Makes an optional field absent, in all tables that share the table's layout.
  void remove(const void* table, flatbuffers::voffset_t field) {
    int32_t distance;
    std::memcpy(&distance, table, sizeof distance);
    std::memset(static_cast<uint8_t*>(const_cast<void*>(table)) - distance + field, 0, sizeof field);
  }
  void set_span(const fb::Tensor* tensor, uint64_t offset, uint64_t size) {
    set(tensor, fb::Tensor::VT_DATA, fb::Span(offset, size));
  }
  void set_extent(const fb::Tensor* tensor, uint32_t axis, uint32_t extent) {
    std::memcpy(const_cast<uint8_t*>(tensor->shape()->Data()) + axis * sizeof extent, &extent, sizeof extent);
  }
  template <typename T>
  void set_data(const fb::Span* span, size_t index, T value) {
    std::memcpy(&bytes[span->offset() + index * sizeof value], &value, sizeof value);
  }
};

}  // namespace lsrt_test
