#include "runtime/api/arrays.h"

#include <algorithm>
#include <cstring>

#include "runtime/classify/encoder_network.h"
#include "runtime/classify/slide_network.h"
#include "runtime/classify/vision_network.h"
#include "runtime/device/threads.h"
#include "runtime/text/session.h"

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

Result<std::vector<Array>> run_language_model(const std::shared_ptr<Backend>& backend,
                                              const std::vector<Array>& inputs, const ArrayOptions& options) {
  LSRT_ASSIGN(const Array* tokens, find_input(inputs, "tokens", DataType::kInt32, 2));
  CausalOptions causal;
  causal.threads = choose_threads(backend->model(), options.threads);
  causal.block = options.block;
  causal.memory = options.memory;
  LSRT_ASSIGN(std::unique_ptr<Session> session, Session::create(backend, causal));
  const uint32_t batch = tokens->shape[0], n = tokens->shape[1], vocabulary = session->vocabulary();
  const uint32_t scored = options.positions ? std::min(options.positions, n) : n;
  Array out = make_array("logprobs", DataType::kFloat32, {batch, scored, vocabulary});
  auto* rows = reinterpret_cast<float*>(out.bytes.data());
  for (uint32_t i = 0; i < batch; ++i) {
    const int32_t* stream = tokens->ints() + size_t{i} * n;
    session->reset();
    const auto go_on = [&](size_t) { return options.go_on(); };
    LSRT_TRY(session->feed(stream, n - scored, Session::Output::kNone, nullptr, go_on));
    LSRT_TRY(session->feed(stream + n - scored, scored, Session::Output::kAll,
                           rows + size_t{i} * scored * vocabulary, go_on));
  }
  std::vector<Array> outputs;
  outputs.push_back(std::move(out));
  return outputs;
}

Result<std::vector<Array>> run_vision_model(const std::shared_ptr<Backend>& backend,
                                            const std::vector<Array>& inputs, const ArrayOptions& options) {
  const Model& model = backend->model();
  LSRT_ASSIGN(const Array* images, find_input(inputs, "image", DataType::kFloat32, 4));
  const uint32_t batch = images->shape[0], size = model.image.size;
  if (images->shape != std::vector<uint32_t>{batch, 3, size, size}) {
    return fail(Error::kArgument, "input 'image' has shape %s, expected [batch, 3, %u, %u]",
                shape_text(images->shape).c_str(), size, size);
  }
  ClassifierOptions classifier;
  classifier.threads = choose_threads(model, options.threads);
  LSRT_ASSIGN(std::unique_ptr<VisionNetwork> network, VisionNetwork::create(backend, classifier));
  std::vector<Array> outputs;
  outputs.push_back(
      make_array("logits", DataType::kFloat32, {batch, static_cast<uint32_t>(network->classes())}));
  std::vector<std::vector<float>> stages;
  LSRT_TRY(network->run(images->floats(), batch, reinterpret_cast<float*>(outputs[0].bytes.data()),
                        options.intermediate ? &stages : nullptr));
  for (size_t i = 0; i < stages.size(); ++i) {
    const uint32_t width = model.stages[i].width;
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

Result<std::vector<Array>> run_encoder(const std::shared_ptr<Backend>& backend,
                                       const std::vector<Array>& inputs, const ArrayOptions& options) {
  ClassifierOptions classifier;
  classifier.threads = choose_threads(backend->model(), options.threads);
  LSRT_ASSIGN(std::unique_ptr<EncoderNetwork> network, EncoderNetwork::create(backend, classifier));
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

// coords [batch, n, 2], int32 or float32.
Result<std::vector<float>> find_coords(const std::vector<Array>& inputs, uint32_t batch, uint32_t n) {
  const auto is_coords = [](const Array& array) { return array.name == "coords"; };
  const auto found = std::find_if(inputs.begin(), inputs.end(), is_coords);
  const bool is_int = found != inputs.end() && found->type == DataType::kInt32;
  LSRT_ASSIGN(const Array* coords,
              find_input(inputs, "coords", is_int ? DataType::kInt32 : DataType::kFloat32, 3));
  if (coords->shape != std::vector<uint32_t>{batch, n, 2}) {
    return fail(Error::kArgument, "input 'coords' has shape %s, expected [%u, %u, 2] as there are tiles",
                shape_text(coords->shape).c_str(), batch, n);
  }
  std::vector<float> values(coords->elements());
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = is_int ? static_cast<float>(coords->ints()[i]) : coords->floats()[i];
  }
  return values;
}

Result<std::vector<Array>> run_slide_encoder(const std::shared_ptr<Backend>& backend,
                                             const std::vector<Array>& inputs, const ArrayOptions& options) {
  const Model& model = backend->model();
  LSRT_ASSIGN(const Array* tiles, find_input(inputs, "tiles", DataType::kFloat32, 3));
  const uint32_t batch = tiles->shape[0], n = tiles->shape[1], features = tiles->shape[2];
  const size_t expected = std::get<TileStem>(model.stages[0].stem).projection.inputs;
  if (features != expected) {
    return fail(Error::kArgument, "input 'tiles' has shape %s, expected [batch, n, %zu]",
                shape_text(tiles->shape).c_str(), expected);
  }
  LSRT_ASSIGN(const std::vector<float> coords, find_coords(inputs, batch, n));
  SlideOptions slide;
  slide.threads = choose_threads(model, options.threads);
  slide.max_tiles = n;
  LSRT_ASSIGN(std::unique_ptr<SlideNetwork> network, SlideNetwork::create(backend, slide));
  std::vector<Array> outputs;
  outputs.push_back(
      make_array("embedding", DataType::kFloat32, {batch, static_cast<uint32_t>(network->width())}));
  auto* out = reinterpret_cast<float*>(outputs[0].bytes.data());
  for (size_t i = 0; i < batch; ++i) {
    LSRT_TRY(
        network->run(tiles->floats() + i * n * features, &coords[i * n * 2], n, out + i * network->width()));
  }
  return outputs;
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

Array to_array(const TensorView& view) {
  Array array = make_array(std::string(view.name), view.type, {view.shape, view.shape + view.rank});
  std::memcpy(array.bytes.data(), view.data, array.bytes.size());
  return array;
}

Result<std::vector<Array>> run_arrays(const std::shared_ptr<Backend>& backend,
                                      const std::vector<Array>& inputs, const ArrayOptions& options) {
  const Model& model = backend->model();
  if (model.family == Family::kLm) return run_language_model(backend, inputs, options);
  if (model.family == Family::kVil) return run_vision_model(backend, inputs, options);
  if (model.family == Family::kSlide) return run_slide_encoder(backend, inputs, options);
  return run_encoder(backend, inputs, options);
}

}  // namespace lsrt
