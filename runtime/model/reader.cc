#include "runtime/model/reader.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>

#include "base/text.h"

namespace lsrt {
namespace {

const char* type_name(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return "float32";
    case DataType::kInt8:
      return "int8";
    case DataType::kInt32:
      return "int32";
    case DataType::kUint8:
      return "uint8";
  }
  return "unknown";
}

// Product of the factors; false if it does not fit.
bool product(std::initializer_list<uint64_t> factors, uint64_t* out) {
  *out = 1;
  for (uint64_t factor : factors) {
    if (__builtin_mul_overflow(*out, factor, out)) return false;
  }
  return true;
}

// Bytes of the data of an array; false if that is no 64-bit number.
bool data_bytes(const TensorView& view, uint64_t* bytes) {
  const uint32_t* shape = view.shape;
  if (view.type == DataType::kInt8) {
    const uint64_t groups = view.rank == 3 ? shape[0] : 1;
    return product({groups, panel_count(shape[view.rank - 2]), panel_bytes(shape[view.rank - 1])}, bytes);
  }
  return product({shape[0], view.rank > 1 ? shape[1] : 1u, view.rank > 2 ? shape[2] : 1u,
                  view.rank > 3 ? shape[3] : 1u, view.type == DataType::kUint8 ? 1u : 4u},
                 bytes);
}

}  // namespace

std::string shape_text(const uint32_t* shape, size_t rank) {
  std::string text = "[";
  for (size_t i = 0; i < rank; i++) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

Status ModelReader::wrong(const std::string& what, const char* format, ...) const {
  char text[512];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return Status(Error::kModel, path_ + ": " + where_ + what + ": " + text);
}

Status ModelReader::range(const std::string& what, uint64_t value, uint64_t low, uint64_t high) const {
  if (value >= low && value <= high) return {};
  return wrong(what, "%llu is not in %llu .. %llu", static_cast<unsigned long long>(value),
               static_cast<unsigned long long>(low), static_cast<unsigned long long>(high));
}

Status ModelReader::text(const char* what, const flatbuffers::String* source, std::string* out) const {
  if (source == nullptr) return {};
  if (source->size() > kMaxTextBytes) return wrong(what, "a text of %u bytes", source->size());
  if (!is_plain_text(source->string_view())) {
    return wrong(what, "\"%s\" has control characters or is not UTF-8",
                 printable(source->string_view()).c_str());
  }
  *out = source->str();
  return {};
}

Status ModelReader::span(const std::string& what, const fb::Span* source, uint64_t bytes,
                         const void** data) const {
  if (source == nullptr) return wrong(what, "is missing");
  const auto offset = static_cast<unsigned long long>(source->offset());
  const auto found = static_cast<unsigned long long>(source->bytes());
  if (found != bytes) {
    return wrong(what, "%llu bytes, but the shape needs %llu", found, static_cast<unsigned long long>(bytes));
  }
  if (offset % kWeightAlignment != 0) {
    return wrong(what, "offset %llu is not a multiple of %zu", offset, kWeightAlignment);
  }
  // Compared with the bytes left, since offset + bytes may wrap around.
  if (offset > size_ || found > size_ - offset) {
    return wrong(what, "bytes %llu .. + %llu end after the file, which has %zu: cut short?", offset, found,
                 size_);
  }
  *data = data_ + offset;
  return {};
}

// Every array is one and the same with one that was placed before (the tied embedding), or lies apart from
// all. Anything between the two would let one array be taken for another by its address.
Status ModelReader::place(const std::string& what, const TensorView& view, uint64_t bytes,
                          uint64_t row_bytes) {
  const auto found = placed_.find(view.data);
  if (found != placed_.end()) {
    const TensorView& other = model_->tensors_[found->second];
    const bool same = view.name == other.name && view.type == other.type && view.rank == other.rank &&
                      std::equal(view.shape, view.shape + view.rank, other.shape) &&
                      view.scales == other.scales && view.sums == other.sums;
    if (same) return {};
    return wrong(what, "lies where %.*s does, which is another array", static_cast<int>(other.name.size()),
                 other.name.data());
  }
  LSRT_TRY(claim(what, view.data, bytes));
  if (view.type == DataType::kInt8) {
    LSRT_TRY(claim(what + ".scales", view.scales, row_bytes));
    LSRT_TRY(claim(what + ".sums", view.sums, row_bytes));
    LSRT_TRY(scales_and_sums(what, view, row_bytes / sizeof(float)));
  }
  placed_.emplace(view.data, model_->tensors_.size());
  model_->tensors_.push_back(view);
  return {};
}

// Takes bytes of the file that no array has taken before.
Status ModelReader::claim(const std::string& what, const void* data, uint64_t bytes) {
  const auto begin = static_cast<uint64_t>(static_cast<const uint8_t*>(data) - data_);
  const auto next = spans_.lower_bound(begin);
  const bool apart = (next == spans_.end() || next->first >= begin + bytes) &&
                     (next == spans_.begin() || std::prev(next)->second <= begin);
  if (!apart) {
    return wrong(what, "bytes %llu .. + %llu overlap another array", static_cast<unsigned long long>(begin),
                 static_cast<unsigned long long>(bytes));
  }
  spans_.emplace_hint(next, begin, begin + bytes);
  return {};
}

Status ModelReader::scales_and_sums(const std::string& what, const TensorView& view, uint64_t count) const {
  const uint64_t columns = view.shape[view.rank - 1];
  const int64_t largest_sum = 127 * static_cast<int64_t>(columns);
  for (uint64_t i = 0; i < count; i++) {
    if (!std::isfinite(view.scales[i]) || view.scales[i] < 0) {
      return wrong(what, "scale %llu is %g", static_cast<unsigned long long>(i),
                   static_cast<double>(view.scales[i]));
    }
    if (view.sums[i] > largest_sum || view.sums[i] < -largest_sum) {
      return wrong(what, "sum %llu is %d, more than %llu columns can make",
                   static_cast<unsigned long long>(i), view.sums[i],
                   static_cast<unsigned long long>(columns));
    }
  }
  return {};
}

Status ModelReader::tensor(const std::string& what, const fb::Tensor* source, Shape shape, Types types,
                           TensorView* view) {
  if (source == nullptr) return wrong(what, "is missing");
  view->name = source->name()->string_view();
  if (view->name.size() > kMaxTextBytes || !is_plain_text(view->name)) {
    return wrong(what, "its name, \"%s\", is too long, has control characters or is not UTF-8",
                 printable(view->name).c_str());
  }
  view->type = static_cast<DataType>(source->type());
  if (std::find(types.begin(), types.end(), view->type) == types.end()) {
    return wrong(what, "type %s (%u) is not possible here", type_name(view->type),
                 static_cast<unsigned>(view->type));
  }
  view->rank = source->shape()->size();
  if (view->rank != shape.size()) {
    return wrong(what, "%u dimensions, expected %zu", view->rank, shape.size());
  }
  uint32_t expected[4] = {0, 0, 0, 0};
  bool fits = true;
  for (uint32_t i = 0; i < view->rank; i++) {
    const uint64_t extent = shape.begin()[i];
    view->shape[i] = source->shape()->Get(i);
    expected[i] = static_cast<uint32_t>(extent);
    fits &= view->shape[i] > 0 && (extent == 0 || extent == view->shape[i]);
  }
  if (!fits) {
    return wrong(what, "shape %s, expected %s (0: any but 0)", shape_text(view->shape, view->rank).c_str(),
                 shape_text(expected, view->rank).c_str());
  }
  uint64_t bytes = 0;
  if (!data_bytes(*view, &bytes)) {
    return wrong(what, "shape %s is too large", shape_text(view->shape, view->rank).c_str());
  }
  LSRT_TRY(span(what, source->data(), bytes, &view->data));
  if (view->type != DataType::kInt8) return place(what, *view, bytes, 0);
  LSRT_TRY(range(what + " columns", view->shape[view->rank - 1], 1, kMaxGemmDepth));
  const uint64_t groups = view->rank == 3 ? view->shape[0] : 1;
  const uint64_t row_bytes =
      groups * panel_count(view->shape[view->rank - 2]) * kPanelOutputs * sizeof(float);
  const void* scales = nullptr;
  const void* sums = nullptr;
  LSRT_TRY(span(what + ".scales", source->scales(), row_bytes, &scales));
  LSRT_TRY(span(what + ".sums", source->sums(), row_bytes, &sums));
  view->scales = static_cast<const float*>(scales);
  view->sums = static_cast<const int32_t*>(sums);
  return place(what, *view, bytes, row_bytes);
}

Status ModelReader::floats(const std::string& what, const fb::Tensor* source, Shape shape,
                           const float** out) {
  *out = nullptr;
  if (source == nullptr) return {};
  TensorView view;
  LSRT_TRY(tensor(what, source, shape, {DataType::kFloat32}, &view));
  *out = view.floats();
  return {};
}

Status ModelReader::linear(const std::string& what, const fb::Linear* source, uint64_t outputs,
                           uint64_t inputs, LinearView* view) {
  if (source == nullptr) return wrong(what, "is missing");
  LSRT_TRY(tensor(what + ".weight", source->weight(), {outputs, inputs},
                  {DataType::kFloat32, DataType::kInt8}, &view->weight));
  view->outputs = view->weight.shape[0];
  view->inputs = view->weight.shape[1];
  LSRT_TRY(range(what + " inputs", view->inputs, 1, kMaxGemmDepth));
  return floats(what + ".bias", source->bias(), {view->outputs}, &view->bias);
}

Status ModelReader::norm(const std::string& what, const fb::Norm* source, uint64_t width, NormView* view) {
  if (source == nullptr) return {};
  LSRT_TRY(range(what + ".kind", static_cast<uint64_t>(source->kind()), 0,
                 static_cast<uint64_t>(format_ < 2 ? NormKind::kLayer : NormKind::kRms)));
  view->kind = static_cast<NormKind>(source->kind());
  const bool has_beta = view->kind == NormKind::kLayer;
  if ((source->beta() != nullptr) != has_beta) {
    return wrong(what + ".beta", has_beta ? "is missing" : "an rms norm has none");
  }
  LSRT_TRY(floats(what + ".gamma", source->gamma(), {width}, &view->gamma));
  LSRT_TRY(floats(what + ".beta", source->beta(), {width}, &view->beta));
  view->eps = source->eps();
  if (!(view->eps > 0 && view->eps < 1)) {
    return wrong(what, "eps %g is not between 0 and 1", static_cast<double>(view->eps));
  }
  return {};
}

Status ModelReader::read(const fb::Model& source) {
  const std::optional<Family> family = family_called(source.family()->string_view());
  if (!family) {
    return wrong("family", "\"%s\" is not lm, encoder, vil or slide",
                 printable(source.family()->string_view()).c_str());
  }
  model_->family = *family;
  format_ = source.format();
  LSRT_TRY(stream(source));
  LSRT_TRY(stages(source));
  LSRT_TRY(sequence(source));
  LSRT_TRY(image(source));
  LSRT_TRY(head(source));
  LSRT_TRY(vocabulary(source));
  LSRT_TRY(labels(source));
  LSRT_TRY(provenance(source));
  return golden(source);
}

}  // namespace lsrt
