#include "runtime/model/model.h"

#include <algorithm>
#include <cstring>

#include "runtime/model/reader.h"
#include "runtime/model/weights.h"

namespace lsrt {
namespace {

constexpr size_t kFirstBytes = 4096;  // enough to tell what a file is
constexpr char kConvertHint[] = "; convert it first with `lsrt convert`";

// What a file that is no model looks like, for the error message.
std::string looks_like(const uint8_t* data, size_t size) {
  const auto starts = [&](const char* magic, size_t at, size_t length) {
    return size >= at + length && std::memcmp(data + at, magic, length) == 0;
  };
  if (starts("PK\x03\x04", 0, 4))
    return std::string("a zip archive, such as a PyTorch checkpoint") + kConvertHint;
  if (size > 2 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5) {
    return std::string("a pickle, such as an old PyTorch checkpoint") + kConvertHint;
  }
  if (starts("{\"", 8, 2) || starts("{ ", 8, 2)) return std::string("a safetensors file") + kConvertHint;
  if (starts("GGUF", 0, 4)) return "a GGUF file, which is another runtime's";
  if (starts("TFL3", 4, 4)) return "a TensorFlow Lite model, which is another runtime's";
  if (starts("version https://git-lfs", 0, 23))
    return "a Git LFS pointer; fetch the file itself with `git lfs pull`";
  if (std::all_of(data, data + std::min<size_t>(size, 64),
                  [](uint8_t c) { return (c >= 32 && c < 127) || c == '\n' || c == '\r' || c == '\t'; })) {
    return "a text";
  }
  return "something else";
}

Status not_a_model(const std::string& name, const std::string& why) {
  return fail(Error::kModel, "%s: is not an lsrt model: %s", name.c_str(), why.c_str());
}

// Whether the FlatBuffer is whole within these bytes.
bool header_lies_within(const uint8_t* data, uint64_t size) {
  flatbuffers::Verifier::Options options;
  options.max_depth = 16;
  options.max_tables = 2 * kMaxVocabulary;
  flatbuffers::Verifier verifier(data, std::min<uint64_t>(size, kMaxHeaderBytes), options);
  return fb::VerifyModelBuffer(verifier);
}

// Whether the first kFirstBytes of a file are those of a model.
Status identify(const uint8_t* data, size_t size, const std::string& name) {
  const size_t identifier_end = 8;
  if (size < identifier_end) return not_a_model(name, "it has only " + std::to_string(size) + " bytes");
  if (fb::ModelBufferHasIdentifier(data)) return {};
  return not_a_model(name, "it looks like " + looks_like(data, size));
}

// Verifies the FlatBuffer as a whole; afterwards every pointer in it is safe to follow.
Result<const fb::Model*> verified(const uint8_t* data, size_t size, const std::string& name) {
  LSRT_TRY(identify(data, size, name));
  if (!header_lies_within(data, size)) {
    return fail(Error::kModel, "%s: the header is damaged or cut short", name.c_str());
  }
  const fb::Model* model = fb::GetModel(data);
  if (model->format() > kModelFormat) {
    return fail(Error::kVersion, "%s: model format %u, but this version reads formats up to %u; update lsrt",
                name.c_str(), model->format(), kModelFormat);
  }
  if (model->format() == 0) return fail(Error::kModel, "%s: model format 0 does not exist", name.c_str());
  return model;
}

}  // namespace

size_t TensorView::elements() const {
  size_t count = rank > 0 ? 1 : 0;
  for (uint32_t i = 0; i < rank; i++) count *= shape[i];
  return count;
}

size_t TensorView::bytes() const {
  switch (type) {
    case DataType::kInt8: {
      const size_t panels = (rank == 3 ? shape[0] : 1) * panel_count(shape[rank - 2]);
      return panels * (panel_bytes(shape[rank - 1]) + kPanelOutputs * (sizeof(float) + sizeof(int32_t)));
    }
    case DataType::kUint8:
      return elements();
    case DataType::kFloat32:
    case DataType::kInt32:
      break;
  }
  return elements() * 4;
}

PanelWeights TensorView::panels(size_t g, const float* bias) const {
  if (type != DataType::kInt8) return {};
  const size_t outputs = shape[rank - 2], depth = shape[rank - 1];
  const size_t group_panels = panel_count(outputs);
  const size_t first_row = g * group_panels * kPanelOutputs;
  return {static_cast<const int8_t*>(data) + g * group_panels * panel_bytes(depth),
          scales + first_row,
          sums + first_row,
          bias,
          outputs,
          depth};
}

template <typename Bytes>
Result<std::shared_ptr<const Model>> Model::read(Bytes bytes, const std::string& name) {
  auto model = std::make_shared<Model>();
  model->name_ = name;
  model->data_ = bytes.data();
  model->size_ = bytes.size();
  model->bytes_ = std::move(bytes);
  LSRT_ASSIGN(const fb::Model* source, verified(model->data_, model->size_, name));
  ModelReader reader(name, model->data_, model->size_, model.get());
  LSRT_TRY(reader.read(*source));
  if (!header_lies_within(model->data_, reader.first_array())) {
    return fail(Error::kModel, "%s: the array at byte %llu lies inside the header", name.c_str(),
                static_cast<unsigned long long>(reader.first_array()));
  }
  if (!std::holds_alternative<MappedFile>(model->bytes_)) LSRT_TRY(model->check_weights());
  return std::shared_ptr<const Model>(std::move(model));
}

Result<std::shared_ptr<const Model>> Model::load(const std::string& path, Placement placement) {
  LSRT_ASSIGN(const OpenFile file, OpenFile::open(path));
  if (placement == Placement::kMapped || file.size() > kMostReadBytes) {
    LSRT_ASSIGN(MappedFile mapped, MappedFile::open(path));
    return read(std::move(mapped), path);
  }
  Pages bytes(file.size());
  if (!bytes.data()) {
    return fail(Error::kMemory, "%s: cannot allocate %zu bytes for the model", path.c_str(), file.size());
  }
  // Read piece by piece, so that what is no model costs no more memory than it takes to find that out.
  const size_t header = std::min(file.size(), kMaxHeaderBytes), first = std::min(header, kFirstBytes);
  LSRT_TRY(file.read(0, bytes.data(), first));
  LSRT_TRY(identify(bytes.data(), first, path));
  LSRT_TRY(file.read(first, bytes.data() + first, header - first));
  LSRT_TRY(verified(bytes.data(), header, path).status());
  LSRT_TRY(file.read(header, bytes.data() + header, file.size() - header));
  return read(std::move(bytes), path);
}

Result<std::shared_ptr<const Model>> Model::load_bytes(ModelBytes bytes, const std::string& name) {
  return read(std::move(bytes), name);
}

Result<std::shared_ptr<const Model>> Model::load_bytes(Pages bytes, const std::string& name) {
  return read(std::move(bytes), name);
}

Status Model::check_weights() const {
  for (const TensorView& tensor : tensors_) {
    if (tensor.type != DataType::kInt8) continue;
    const Status status = check_int8(tensor);
    if (!status.ok()) return Status(status.code(), name_ + ": " + status.message());
  }
  return {};
}

void Model::forget(const TensorView& tensor) const {
  if (std::holds_alternative<MappedFile>(bytes_)) forget_mapped(tensor.data, tensor.bytes());
}

bool Model::is_int8() const {
  return std::any_of(tensors_.begin(), tensors_.end(),
                     [](const TensorView& tensor) { return tensor.type == DataType::kInt8; });
}

}  // namespace lsrt
