#include "runtime/arrays.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/encoder_network.h"
#include "runtime/session.h"
#include "runtime/vision_network.h"

namespace lsrt {
namespace {

size_t element_bytes(DataType type) { return type == DataType::kFloat32 || type == DataType::kInt32 ? 4 : 1; }

std::string shape_text(const std::vector<uint32_t>& shape) {
  std::string text = "[";
  for (uint32_t extent : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

Result<const Array*> find_input(const std::vector<Array>& inputs, const char* name, DataType type,
                                size_t rank) {
  std::string found;
  for (const Array& array : inputs) {
    if (array.name != name) {
      found += (found.empty() ? "" : ", ") + array.name;
      continue;
    }
    if (array.type != type || array.shape.size() != rank || array.elements() == 0) {
      return fail(Error::kArgument, "input '%s' has shape %s, expected rank %zu of %s, not empty", name,
                  shape_text(array.shape).c_str(), rank, type == DataType::kFloat32 ? "float32" : "int32");
    }
    return &array;
  }
  return fail(Error::kArgument, "no input is called '%s' (there is: %s)", name,
              found.empty() ? "none" : found.c_str());
}

Result<std::vector<Array>> run_language_model(const std::shared_ptr<const Model>& model,
                                              const std::shared_ptr<Backend>& backend,
                                              const std::vector<Array>& inputs, const ArrayOptions& options) {
  LSRT_ASSIGN(const Array* tokens, find_input(inputs, "tokens", DataType::kInt32, 2));
  CausalOptions causal;
  causal.threads = options.threads;
  causal.block = options.block;
  causal.memory = options.memory;
  LSRT_ASSIGN(std::unique_ptr<Session> session, Session::create(model, backend, causal));
  const uint32_t batch = tokens->shape[0], n = tokens->shape[1], vocabulary = session->vocabulary();
  Array out = make_array("logprobs", DataType::kFloat32, {batch, n, vocabulary});
  auto* rows = reinterpret_cast<float*>(out.bytes.data());
  for (uint32_t i = 0; i < batch; ++i) {
    session->reset();
    LSRT_TRY(session->feed(tokens->ints() + size_t{i} * n, n, Session::Output::kAll,
                           rows + size_t{i} * n * vocabulary));
  }
  std::vector<Array> outputs;
  outputs.push_back(std::move(out));
  return outputs;
}

Result<std::vector<Array>> run_vision_model(const std::shared_ptr<const Model>& model,
                                            const std::shared_ptr<Backend>& backend,
                                            const std::vector<Array>& inputs, const ArrayOptions& options) {
  LSRT_ASSIGN(const Array* images, find_input(inputs, "image", DataType::kFloat32, 4));
  const uint32_t batch = images->shape[0], size = model->image.size;
  if (images->shape != std::vector<uint32_t>{batch, 3, size, size}) {
    return fail(Error::kArgument, "input 'image' has shape %s, expected [batch, 3, %u, %u]",
                shape_text(images->shape).c_str(), size, size);
  }
  ClassifierOptions classifier;
  classifier.threads = options.threads;
  LSRT_ASSIGN(std::unique_ptr<VisionNetwork> network, VisionNetwork::create(model, backend, classifier));
  std::vector<Array> outputs;
  outputs.push_back(
      make_array("logits", DataType::kFloat32, {batch, static_cast<uint32_t>(network->classes())}));
  std::vector<std::vector<float>> stages;
  LSRT_TRY(network->run(images->floats(), batch, reinterpret_cast<float*>(outputs[0].bytes.data()),
                        options.intermediate ? &stages : nullptr));
  for (size_t i = 0; i < stages.size(); ++i) {
    const uint32_t width = model->stages[i].width;
    const uint32_t rows = static_cast<uint32_t>(stages[i].size() / batch / width);
    Array stage = make_array("stage" + std::to_string(i + 1), DataType::kFloat32, {batch, rows, width});
    std::memcpy(stage.bytes.data(), stages[i].data(), stage.bytes.size());
    outputs.push_back(std::move(stage));
  }
  return outputs;
}

// mask_j [batch, n], int32 or float32: 0 where there is no token. Without one all tokens are real.
Result<std::vector<int32_t>> find_mask(const std::vector<Array>& inputs, const std::string& name,
                                       const std::vector<uint32_t>& shape) {
  std::vector<int32_t> mask;
  for (const Array& array : inputs) {
    if (array.name != name) continue;
    const bool is_float = array.type == DataType::kFloat32;
    if (array.shape != shape || (!is_float && array.type != DataType::kInt32)) {
      return fail(Error::kArgument, "input '%s' has shape %s, expected %s of int32 or float32", name.c_str(),
                  shape_text(array.shape).c_str(), shape_text(shape).c_str());
    }
    for (size_t i = 0; i < array.elements(); ++i)
      mask.push_back(is_float ? array.floats()[i] != 0 : array.ints()[i] != 0);
  }
  return mask;
}

Result<std::vector<Array>> run_encoder(const std::shared_ptr<const Model>& model,
                                       const std::shared_ptr<Backend>& backend,
                                       const std::vector<Array>& inputs, const ArrayOptions& options) {
  ClassifierOptions classifier;
  classifier.threads = options.threads;
  LSRT_ASSIGN(std::unique_ptr<EncoderNetwork> network, EncoderNetwork::create(model, backend, classifier));
  const Array* tokens[2];
  std::vector<int32_t> masks[2];
  for (size_t j = 0; j < network->documents(); ++j) {
    LSRT_ASSIGN(tokens[j], find_input(inputs, j ? "tokens_1" : "tokens_0", DataType::kInt32, 2));
    if (tokens[j]->shape[0] != tokens[0]->shape[0]) {
      return fail(Error::kArgument, "tokens_0 has shape %s, tokens_1 %s: not as many documents",
                  shape_text(tokens[0]->shape).c_str(), shape_text(tokens[j]->shape).c_str());
    }
    LSRT_ASSIGN(masks[j], find_mask(inputs, j ? "mask_1" : "mask_0", tokens[j]->shape));
  }
  const uint32_t batch = tokens[0]->shape[0], classes = static_cast<uint32_t>(network->classes());
  std::vector<Array> outputs;
  outputs.push_back(make_array("logits", DataType::kFloat32, {batch, classes}));
  for (size_t j = 0; options.intermediate && j < network->documents(); ++j) {
    const auto rows = static_cast<uint32_t>(network->encoded_rows(tokens[j]->shape[1]));
    outputs.push_back(make_array("encoder_" + std::to_string(j), DataType::kFloat32,
                                 {batch, rows, static_cast<uint32_t>(network->width())}));
  }
  auto part = [&](Array& array, uint32_t i) {
    return reinterpret_cast<float*>(array.bytes.data()) + array.elements() / batch * i;
  };
  for (uint32_t i = 0; i < batch; ++i) {
    Document input[2];
    float* encoded[2] = {};
    for (size_t j = 0; j < network->documents(); ++j) {
      const size_t length = tokens[j]->shape[1];
      input[j] = {tokens[j]->ints() + i * length, length,
                  masks[j].empty() ? nullptr : masks[j].data() + i * length};
      if (options.intermediate) encoded[j] = part(outputs[1 + j], i);
    }
    LSRT_TRY(network->run(input, part(outputs[0], i), options.intermediate ? encoded : nullptr));
  }
  return outputs;
}

Array to_array(const TensorView& view) {
  Array array = make_array(std::string(view.name), view.type, {view.shape, view.shape + view.rank});
  std::memcpy(array.bytes.data(), view.data, array.bytes.size());
  return array;
}

}  // namespace

size_t Array::elements() const {
  size_t n = 1;
  for (uint32_t extent : shape) n *= extent;
  return n;
}

Array make_array(std::string name, DataType type, std::vector<uint32_t> shape) {
  Array array;
  array.name = std::move(name);
  array.type = type;
  array.shape = std::move(shape);
  array.bytes.resize(array.elements() * element_bytes(type));
  return array;
}

Result<std::vector<Array>> run_arrays(const std::shared_ptr<const Model>& model,
                                      const std::vector<Array>& inputs, const ArrayOptions& options) {
  LSRT_ASSIGN(std::unique_ptr<Backend> created, Backend::create(options.backend, options.isa));
  std::shared_ptr<Backend> backend = std::move(created);
  if (model->family == "lm") return run_language_model(model, backend, inputs, options);
  if (model->family == "vil") return run_vision_model(model, backend, inputs, options);
  if (model->family == "encoder") return run_encoder(model, backend, inputs, options);
  return fail(Error::kUnsupported, "models of family '%s' cannot be run", model->family.c_str());
}

Result<float> golden_difference(const std::shared_ptr<const Model>& model, const ArrayOptions& options) {
  if (model->golden.outputs.empty()) return fail(Error::kModel, "the model stores no golden to compare with");
  std::vector<Array> inputs;
  for (const TensorView& view : model->golden.inputs) inputs.push_back(to_array(view));
  LSRT_ASSIGN(std::vector<Array> outputs, run_arrays(model, inputs, options));
  float largest = 0;
  for (const TensorView& expected : model->golden.outputs) {
    auto found =
        std::find_if(outputs.begin(), outputs.end(), [&](const Array& a) { return a.name == expected.name; });
    const size_t wanted = expected.elements();
    if (found == outputs.end() || found->elements() < wanted || expected.type != DataType::kFloat32) {
      return fail(Error::kModel, "the stored golden '%s' is no output of this model",
                  std::string(expected.name).c_str());
    }
    const float* got = found->floats() + (found->elements() - wanted);
    for (size_t i = 0; i < wanted; ++i) {
      const float difference = std::fabs(got[i] - expected.floats()[i]);
      if (!(difference <= largest)) largest = difference;  // NaN counts as the largest
    }
  }
  return largest;
}

}  // namespace lsrt
