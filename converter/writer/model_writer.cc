#include "converter/writer/model_writer.h"

#include <algorithm>

namespace lsrt {
namespace {

uint64_t aligned(uint64_t n) { return (n + kWeightAlignment - 1) / kWeightAlignment * kWeightAlignment; }

// Writes the array and zeros up to the next multiple of kWeightAlignment.
Status write_aligned(const ModelWriter::Sink& sink, const void* data, uint64_t size) {
  static constexpr uint8_t kZeros[kWeightAlignment] = {};
  if (size == 0) return {};
  LSRT_TRY(sink(data, size));
  const uint64_t padding = aligned(size) - size;
  return padding == 0 ? Status() : sink(kZeros, padding);
}

}  // namespace

TensorSizes tensor_sizes(DataType type, const std::vector<uint32_t>& shape) {
  TensorSizes sizes;
  if (type == DataType::kInt8) {
    const uint64_t rows = shape[shape.size() - 2], columns = shape.back();
    const uint64_t panels = (shape.size() == 3 ? shape[0] : 1) * uint64_t{panel_count(rows)};
    sizes.data = panels * panel_bytes(columns);
    sizes.scales = panels * kPanelOutputs * sizeof(float);
    return sizes;
  }
  sizes.data = type == DataType::kUint8 ? 1 : 4;
  for (uint32_t extent : shape) sizes.data *= extent;
  return sizes;
}

fb::Span ModelWriter::reserve(uint64_t bytes) {
  const fb::Span span(end_, bytes);
  end_ += aligned(bytes);
  return span;
}

flatbuffers::Offset<fb::Tensor> ModelWriter::tensor(const std::string& name, DataType type,
                                                    const std::vector<uint32_t>& shape, MakeTensor make) {
  if (std::find(shape.begin(), shape.end(), 0u) != shape.end()) {
    note(fail(Error::kCheckpoint, "%s: the tensor is empty", name.c_str()));
  }
  const TensorSizes sizes = tensor_sizes(type, shape);
  const fb::Span data = reserve(sizes.data);
  const fb::Span scales = reserve(sizes.scales);
  const fb::Span sums = reserve(sizes.scales);
  tensors_.push_back({name, sizes, std::move(make)});
  const bool has_scales = sizes.scales > 0;
  return fb::CreateTensorDirect(builder_, name.c_str(), &shape, static_cast<fb::DataType>(type), &data,
                                has_scales ? &scales : nullptr, has_scales ? &sums : nullptr);
}

void ModelWriter::note(Status status) {
  if (problem_.ok()) problem_ = std::move(status);
}

uint64_t ModelWriter::file_bytes(const Describe& describe) {
  ModelWriter draft(0);
  fb::FinishModelBuffer(draft.builder_, describe(draft));
  return aligned(draft.builder_.GetSize()) + draft.end_;
}

Status ModelWriter::write(const Describe& describe, const Sink& sink, const Progress& progress,
                          std::vector<uint8_t>* header) {
  ModelWriter draft(0);
  fb::FinishModelBuffer(draft.builder_, describe(draft));
  LSRT_TRY(draft.problem_);
  const uint64_t header_bytes = draft.builder_.GetSize();
  if (header_bytes > kMaxHeaderBytes) {
    return fail(Error::kUnsupported, "the model's description has %llu bytes, more than the format's %zu",
                static_cast<unsigned long long>(header_bytes), kMaxHeaderBytes);
  }

  // Offsets are stored in full whatever their value, so the second FlatBuffer has the size of the first.
  ModelWriter writer(aligned(header_bytes));
  fb::FinishModelBuffer(writer.builder_, describe(writer));
  const uint8_t* data = writer.builder_.GetBufferPointer();
  if (header != nullptr) header->assign(data, data + header_bytes);
  LSRT_TRY(write_aligned(sink, data, header_bytes));

  for (size_t i = 0; i < writer.tensors_.size(); i++) {
    const Planned& tensor = writer.tensors_[i];
    LSRT_TRY(progress(i, writer.tensors_.size(), tensor.name));
    LSRT_ASSIGN(const TensorBytes bytes, tensor.make());
    if (bytes.data.size() != tensor.sizes.data ||
        bytes.scales.size() * sizeof(float) != tensor.sizes.scales ||
        bytes.sums.size() * sizeof(int32_t) != tensor.sizes.scales) {
      return fail(Error::kArgument, "%s: made with %zu bytes, expected %llu", tensor.name.c_str(),
                  bytes.data.size(), static_cast<unsigned long long>(tensor.sizes.data));
    }
    LSRT_TRY(write_aligned(sink, bytes.data.data(), tensor.sizes.data));
    LSRT_TRY(write_aligned(sink, bytes.scales.data(), tensor.sizes.scales));
    LSRT_TRY(write_aligned(sink, bytes.sums.data(), tensor.sizes.scales));
  }
  return progress(writer.tensors_.size(), writer.tensors_.size(), "");
}

}  // namespace lsrt
