#include "runtime/arrays.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/session.h"

namespace lsrt {
namespace {

size_t element_bytes(DataType type) { return type == DataType::kFloat32 || type == DataType::kInt32 ? 4 : 1; }

std::string shape_text(const std::vector<uint32_t>& shape) {
  std::string text = "[";
  for (uint32_t extent : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

Result<const Array*> find_input(const std::vector<Array>& inputs, const char* name, DataType type, size_t rank) {
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
  return fail(Error::kArgument, "no input is called '%s' (there is: %s)", name, found.empty() ? "none" : found.c_str());
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
    LSRT_TRY(session->feed(tokens->ints() + size_t{i} * n, n, Session::Output::kAll, rows + size_t{i} * n * vocabulary));
  }
  std::vector<Array> outputs;
  outputs.push_back(std::move(out));
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

Result<std::vector<Array>> run_arrays(const std::shared_ptr<const Model>& model, const std::vector<Array>& inputs,
                                      const ArrayOptions& options) {
  LSRT_ASSIGN(std::unique_ptr<Backend> created, Backend::create(options.backend, options.isa));
  std::shared_ptr<Backend> backend = std::move(created);
  if (model->family == "lm") return run_language_model(model, backend, inputs, options);
  return fail(Error::kUnsupported, "models of family '%s' cannot be run", model->family.c_str());
}

Result<float> golden_difference(const std::shared_ptr<const Model>& model, const ArrayOptions& options) {
  if (model->golden.outputs.empty()) return fail(Error::kModel, "the model stores no golden to compare with");
  std::vector<Array> inputs;
  for (const TensorView& view : model->golden.inputs) inputs.push_back(to_array(view));
  LSRT_ASSIGN(std::vector<Array> outputs, run_arrays(model, inputs, options));
  float largest = 0;
  for (const TensorView& expected : model->golden.outputs) {
    auto found = std::find_if(outputs.begin(), outputs.end(), [&](const Array& a) { return a.name == expected.name; });
    const size_t wanted = expected.elements();
    if (found == outputs.end() || found->elements() < wanted || expected.type != DataType::kFloat32) {
      return fail(Error::kModel, "the stored golden '%s' is no output of this model", std::string(expected.name).c_str());
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
