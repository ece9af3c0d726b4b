#include "converter/writer/model_builder.h"

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "converter/writer/random_weights.h"

namespace lsrt {
namespace {

uint64_t element_count(const std::vector<uint32_t>& shape) {
  uint64_t count = 1;
  for (uint32_t extent : shape) count *= extent;
  return count;
}

// The extents other than 1: the authors' code keeps some tensors in shapes made for broadcasting.
template <typename T>
std::vector<int64_t> without_ones(const std::vector<T>& shape) {
  std::vector<int64_t> kept;
  for (T extent : shape) {
    if (extent != 1) kept.push_back(static_cast<int64_t>(extent));
  }
  return kept;
}

template <typename T>
std::string text_of(const std::vector<T>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); i++) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

// values [rows, ...] of NAME suffix times its gains.
Status multiply_rows(const WeightSource& source, const ModelBuilder::Rows& part, const char* suffix,
                     std::vector<float>* values) {
  LSRT_ASSIGN(const std::vector<float> gains, source.read(part.gains, {part.shape[0]}));
  const size_t columns = values->size() / gains.size();
  for (size_t i = 0; i < values->size(); i++) {
    (*values)[i] *= gains[i / columns];
    if (std::isfinite((*values)[i])) continue;
    return fail(Error::kCheckpoint, "%s: tensor %s%s%s times %s is not finite",
                source.checkpoint->path().c_str(), source.prefix.c_str(), part.name.c_str(), suffix,
                part.gains.c_str());
  }
  return {};
}

}  // namespace

uint32_t WeightSource::extent(const std::string& name, size_t axis) const {
  const SourceTensor* tensor = find(name);
  if (tensor == nullptr || axis >= tensor->shape.size()) return 0;
  return static_cast<uint32_t>(std::min<int64_t>(tensor->shape[axis], UINT32_MAX));
}

Status WeightSource::check(const std::string& name, const std::vector<uint32_t>& shape) const {
  const SourceTensor* tensor = find(name);
  const std::string full_name = prefix + name;
  if (tensor == nullptr) {
    return fail(Error::kCheckpoint, "%s: tensor %s is missing; expected shape %s", checkpoint->path().c_str(),
                full_name.c_str(), text_of(shape).c_str());
  }
  if (without_ones(tensor->shape) != without_ones(shape)) {
    return fail(Error::kCheckpoint, "%s: tensor %s has shape %s, expected %s", checkpoint->path().c_str(),
                full_name.c_str(), text_of(tensor->shape).c_str(), text_of(shape).c_str());
  }
  return {};
}

Result<std::vector<float>> WeightSource::read(const std::string& name,
                                              const std::vector<uint32_t>& shape) const {
  LSRT_TRY(check(name, shape));
  LSRT_ASSIGN(std::vector<float> values, checkpoint->read(*find(name)));
  for (size_t i = 0; i < values.size(); i++) {
    if (!std::isfinite(values[i])) {
      return fail(Error::kCheckpoint, "%s: tensor %s%s: element %zu is %g", checkpoint->path().c_str(),
                  prefix.c_str(), name.c_str(), i, static_cast<double>(values[i]));
    }
  }
  return values;
}

bool ModelBuilder::has(const std::string& name, bool otherwise) const {
  return source_.random() ? otherwise : source_.find(name) != nullptr;
}

void ModelBuilder::require(const std::string& name, const std::vector<uint32_t>& shape) {
  if (source_.random()) return;
  writer_.note(source_.check(name, shape));
  used_.insert(name);
}

void ModelBuilder::ignore(const std::string& name, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    for (const char* kind : {".weight", ".bias"}) ignore(name + part + kind);
  }
}

void ModelBuilder::require_all_used() {
  if (source_.random()) return;
  for (const SourceTensor& tensor : source_.checkpoint->tensors()) {
    if (tensor.name.compare(0, source_.prefix.size(), source_.prefix) != 0) continue;
    const std::string name = tensor.name.substr(source_.prefix.size());
    if (used_.count(name) > 0 || ignored_.count(name) > 0) continue;
    writer_.note(fail(Error::kUnsupported, "%s: tensor %s %s has no place in this architecture",
                      source_.checkpoint->path().c_str(), printable(tensor.name).c_str(),
                      text_of(tensor.shape).c_str()));
    return;  // the first problem is the one that is kept
  }
}

uint64_t ModelBuilder::parameters() const {
  uint64_t count = 0;
  for (const std::string& name : used_) {
    if (source_.find(name) != nullptr) count += static_cast<uint64_t>(source_.find(name)->count());
  }
  return count;
}

MakeFloats ModelBuilder::reader(const std::string& name, const std::vector<uint32_t>& shape) {
  if (source_.random()) return nullptr;
  require(name, shape);
  return [source = source_, name, shape] { return source.read(name, shape); };
}

flatbuffers::Offset<fb::Tensor> ModelBuilder::made(const std::string& name,
                                                   const std::vector<uint32_t>& shape,
                                                   const MakeFloats& make) {
  return writer_.tensor(name, DataType::kFloat32, shape, [=, reports = reports_]() -> Result<TensorBytes> {
    LSRT_ASSIGN(const std::vector<float> values, make());
    TensorBytes bytes = store_floats(values);
    if (reports != nullptr) reports->push_back({name, DataType::kFloat32, shape, bytes.data.size(), {}});
    return bytes;
  });
}

flatbuffers::Offset<fb::Tensor> ModelBuilder::floats(const std::string& name,
                                                     const std::vector<uint32_t>& shape,
                                                     const MakeFloats& make) {
  if (!source_.random()) return made(name, shape, make);
  return writer_.tensor(name, DataType::kFloat32, shape,
                        [=]() -> Result<TensorBytes> { return random_floats(name, shape); });
}

flatbuffers::Offset<fb::Tensor> ModelBuilder::floats(const std::string& name,
                                                     const std::vector<uint32_t>& shape) {
  return floats(name, shape, reader(name, shape));
}

flatbuffers::Offset<fb::Tensor> ModelBuilder::weights(const std::string& name,
                                                      const std::vector<uint32_t>& shape,
                                                      const MakeFloats& make) {
  if (precision_ == Precision::kFloat32) return floats(name, shape, make);
  return writer_.tensor(
      name, DataType::kInt8, shape,
      [=, source = source_, reports = reports_, threads = threads_]() -> Result<TensorBytes> {
        if (source.random()) return random_int8(name, shape);
        LSRT_ASSIGN(const std::vector<float> values, make());
        const size_t groups = shape.size() == 3 ? shape[0] : 1;
        QuantizationError error;
        TensorBytes bytes = quantize(values, groups, shape[shape.size() - 2], shape.back(), &error, threads);
        if (reports != nullptr) {
          const uint64_t size = bytes.data.size() + 2 * sizeof(float) * bytes.scales.size();
          reports->push_back({name, DataType::kInt8, shape, size, error});
        }
        return bytes;
      });
}

flatbuffers::Offset<fb::Tensor> ModelBuilder::weights(const std::string& name,
                                                      const std::vector<uint32_t>& shape) {
  return weights(name, shape, reader(name, shape));
}

MakeFloats ModelBuilder::joined(const std::vector<Rows>& parts, const char* suffix) {
  if (source_.random()) return nullptr;
  const bool is_bias = std::string(suffix) == ".bias";
  const auto shape_of = [is_bias](const Rows& part) {
    return is_bias ? std::vector<uint32_t>{part.shape[0]} : part.shape;
  };
  for (const Rows& part : parts) {
    if (!is_bias || part.bias) {
      require(part.name + suffix, shape_of(part));
    } else if (source_.find(part.name + suffix) != nullptr) {
      writer_.note(fail(Error::kCheckpoint, "%s: tensor %s%s%s exists, but the hyper-parameters say no bias",
                        source_.checkpoint->path().c_str(), source_.prefix.c_str(), part.name.c_str(),
                        suffix));
    }
    if (!part.gains.empty()) require(part.gains, {part.shape[0]});
  }
  return [source = source_, parts, suffix, is_bias, shape_of]() -> Result<std::vector<float>> {
    std::vector<float> all;
    for (const Rows& part : parts) {
      std::vector<float> values(is_bias ? part.shape[0] : 0);  // no bias: zeros
      if (!is_bias || part.bias) {
        LSRT_ASSIGN(values, source.read(part.name + suffix, shape_of(part)));
      }
      const size_t scaled = values.size() * part.scaled_rows / part.shape[0];
      for (size_t i = 0; i < scaled; i++) values[i] *= part.scale;
      if (!part.gains.empty()) LSRT_TRY(multiply_rows(source, part, suffix, &values));
      if (parts.size() == 1) return values;
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  };
}

flatbuffers::Offset<fb::Linear> ModelBuilder::linear(const std::string& name,
                                                     const std::vector<Rows>& parts) {
  uint32_t outputs = 0;
  bool any_bias = false;
  for (const Rows& part : parts) {
    outputs += part.shape[0];
    any_bias |= part.bias;
  }
  const std::vector<uint32_t> row(parts[0].shape.begin() + 1, parts[0].shape.end());
  if (element_count(row) > UINT32_MAX) {
    writer_.note(fail(Error::kUnsupported, "%s%s: rows of %llu inputs", source_.prefix.c_str(), name.c_str(),
                      static_cast<unsigned long long>(element_count(row))));
  }
  const auto inputs = static_cast<uint32_t>(element_count(row));
  const auto weight = weights(name + ".weight", {outputs, inputs}, joined(parts, ".weight"));
  const MakeFloats biases = joined(parts, ".bias");
  const auto bias = any_bias ? floats(name + ".bias", {outputs}, biases) : 0;
  return fb::CreateLinear(fb(), weight, bias);
}

flatbuffers::Offset<fb::Linear> ModelBuilder::linear(const std::string& name, uint32_t outputs,
                                                     uint32_t inputs, bool bias) {
  return linear(name, {Rows{name, {outputs, inputs}, bias}});
}

ModelBuilder::Rows ModelBuilder::queries(const std::string& name, const std::vector<uint32_t>& shape,
                                         bool bias, uint32_t width, uint32_t heads) {
  return {name, shape, bias, 1 / std::sqrt(static_cast<float>(width / heads)), width};
}

flatbuffers::Offset<fb::Block> ModelBuilder::block(const BlockParts& parts,
                                                   const std::function<MixerTable()>& mixer) {
  const auto norm1 = norm(parts.norm1, parts.width, parts.eps);
  const MixerTable made = mixer();
  flatbuffers::Offset<fb::Norm> norm_mixed, norm_hidden;
  if (!parts.norm_mixed.empty()) norm_mixed = norm(parts.norm_mixed, parts.width, parts.eps);
  const auto norm2 = norm(parts.norm2, parts.width, parts.eps);
  const auto fc1 = linear(parts.fc1, parts.hidden, parts.width);
  const auto fc2 = linear(parts.fc2, parts.width, parts.hidden);
  if (!parts.norm_hidden.empty()) norm_hidden = norm(parts.norm_hidden, parts.hidden, parts.eps);
  const auto feed_forward = fb::CreateFeedForward(fb(), fc1, fc2, parts.activation, norm_hidden);
  return fb::CreateBlock(fb(), norm1, made.type, made.table, norm2, feed_forward, parts.residual, norm_mixed);
}

flatbuffers::Offset<fb::Tensor> ModelBuilder::constant(const std::string& name, uint32_t width, float value) {
  return writer_.tensor(name, DataType::kFloat32, {width}, [=]() -> Result<TensorBytes> {
    return store_floats(std::vector<float>(width, value));
  });
}

flatbuffers::Offset<fb::Norm> ModelBuilder::norm(const std::string& name, uint32_t width, float eps,
                                                 NormKind kind) {
  const bool random = source_.random();
  const auto gamma = random ? constant(name + ".weight", width, 1) : floats(name + ".weight", {width});
  flatbuffers::Offset<fb::Tensor> beta;
  if (kind == NormKind::kLayer) {
    beta = random ? constant(name + ".bias", width, 0) : floats(name + ".bias", {width});
  }
  return fb::CreateNorm(fb(), gamma, beta, eps, static_cast<fb::NormKind>(kind));
}

}  // namespace lsrt
