// lsrt run: tensors in, tensors out.
#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"
#include "converter/source/safetensors.h"
#include "converter/source/tensor_source.h"
#include "runtime/api/arrays.h"
#include "runtime/device/threads.h"
#include "runtime/model/model.h"
#include "runtime/text/causal_network.h"

namespace lsrt::tool {
namespace {

struct Options {
  EngineOptions engine;
  StreamOptions stream;
  std::string input, output;
  bool intermediate = false;
};

bool is_float(SourceType type) {
  return type == SourceType::f32 || type == SourceType::f16 || type == SourceType::bf16 ||
         type == SourceType::f64;
}

Result<Array> read_array(const TensorSource& source, const SourceTensor& tensor) {
  std::vector<uint32_t> shape;
  for (int64_t extent : tensor.shape) {
    if (extent > std::numeric_limits<uint32_t>::max()) {
      return fail(Error::kFile, "%s: '%s' is too large", source.path().c_str(), tensor.name.c_str());
    }
    shape.push_back(static_cast<uint32_t>(extent));
  }
  if (is_float(tensor.type)) {
    LSRT_ASSIGN(const std::vector<float> values, source.read(tensor));
    Array array = make_array(tensor.name, DataType::kFloat32, std::move(shape));
    std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
    return array;
  }
  LSRT_ASSIGN(const std::vector<int64_t> values, source.read_integers(tensor));
  Array array = make_array(tensor.name, DataType::kInt32, std::move(shape));
  auto* out = reinterpret_cast<int32_t*>(array.bytes.data());
  for (size_t i = 0; i < values.size(); ++i) {
    out[i] = static_cast<int32_t>(values[i]);
    if (out[i] != values[i]) {
      return fail(Error::kFile, "%s: '%s' has the value %lld, more than 32 bits hold", source.path().c_str(),
                  tensor.name.c_str(), static_cast<long long>(values[i]));
    }
  }
  return array;
}

Status write_arrays(const std::string& path, const std::vector<Array>& arrays) {
  std::vector<NamedTensor> tensors;
  for (const Array& array : arrays) {
    const char* type = array.type == DataType::kFloat32 ? "F32" : "I32";
    tensors.push_back({array.name, type, {array.shape.begin(), array.shape.end()}, array.bytes.data()});
  }
  return write_safetensors(path, tensors);
}

// Wrong options are told from wrong tensors, which are the input file's fault.
Status check_options(Backend& backend, const ArrayOptions& options) {
  if (backend.model().family != Family::kLm) return Status();
  CausalOptions causal;
  causal.threads = choose_threads(backend.model(), options.threads), causal.block = options.block,
  causal.memory = options.memory;
  return CausalNetwork::plan(backend, causal).status();
}

Status run(const Options& options) {
  LSRT_TRY(keep(options.engine.model, options.output));
  LSRT_TRY(keep(options.input, options.output));
  LSRT_ASSIGN(std::shared_ptr<const Model> model,
              Model::load(options.engine.model, options.engine.placement()));
  LSRT_ASSIGN(std::unique_ptr<TensorSource> source, TensorSource::open(options.input));
  std::vector<Array> inputs;
  for (const SourceTensor& tensor : source->tensors()) {
    LSRT_ASSIGN(Array array, read_array(*source, tensor));
    inputs.push_back(std::move(array));
  }
  LSRT_ASSIGN(const std::shared_ptr<Backend> backend,
              Backend::create({options.engine.backend, options.engine.isa}, std::move(model)));
  ArrayOptions run;
  run.threads = options.engine.threads;
  run.block = options.stream.block, run.memory = options.stream.memory;
  run.intermediate = options.intermediate;
  LSRT_TRY(check_options(*backend, run));
  const Result<std::vector<Array>> outputs = run_arrays(backend, inputs, run);
  if (!outputs.ok())
    return fail(Error::kFile, "%s: %s", options.input.c_str(), outputs.status().message().c_str());
  return write_arrays(options.output, outputs.value());
}

}  // namespace

Command add_run(CLI::App& tool) {
  auto options = std::make_shared<Options>();
  CLI::App* app = tool.add_subcommand("run", "Tensors in, tensors out, as .safetensors files");
  app->footer(
      "Inputs and outputs by name:\n"
      "  lm       tokens [batch, n]                                    -> logprobs [batch, n, vocabulary]\n"
      "  vil      image [batch, 3, H, W], normalised                   -> logits [batch, classes]\n"
      "  encoder  tokens_0, mask_0 [batch, n] (pairs: tokens_1, mask_1) -> logits [batch, classes]\n"
      "  slide    tiles [batch, n, features], coords [batch, n, 2]      -> embedding [batch, width]");
  options->engine.add_model(app);
  app->add_option("--input", options->input, "File with the input tensors")->required();
  app->add_option("--output", options->output, "File to write")->required();
  options->stream.add(app);
  options->engine.add(app);
  app->add_flag("--intermediate", options->intermediate,
                "Also write the outputs of the stages (vil, encoder)");
  return {app, [options] { return run(*options); }};
}

}  // namespace lsrt::tool
