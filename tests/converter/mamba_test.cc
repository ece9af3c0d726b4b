// Checkpoints of selective state space models: layouts, variants, and what is refused by name.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/support/checkpoints.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

// A golden's folder that can be changed.
struct Checkpoint {
  TemporaryFolder folder;
  nlohmann::json config;
  Tensors tensors;

  explicit Checkpoint(const std::string& golden) {
    config = nlohmann::json::parse(read_file(golden_path(golden, "config.json")));
    tensors = read_tensors(golden_checkpoint(golden));
  }
  Result<ConvertReport> convert_to(const std::string& output, ConvertOptions options = {}) const {
    const std::string path = folder / "checkpoint";
    std::filesystem::create_directory(path);
    write_file(path + "/config.json", config.dump());
    write_safetensors(path + "/model.safetensors", tensors);
    return convert(path, output, options);
  }
  void refused(Error code, const std::string& text, const ConvertOptions& options = {}) const {
    const Status status = convert_to(folder / "m", options).status();
    CAPTURE(status.message());
    CHECK(status.code() == code);
    CHECK(status.message().find(text) != std::string::npos);
  }
  std::shared_ptr<const Model> converted(Precision precision = Precision::kFloat32) const {
    ConvertOptions options;
    options.precision = precision;
    take(convert_to(folder / "m", options));
    return take(Model::load(folder / "m"));
  }
};

const SelectiveScan& scan(const Model& model) {
  return std::get<SelectiveScan>(model.stages[0].blocks[0].mixer);
}

TEST_CASE("the parts of a selective scan") {
  const Checkpoint checkpoint("mamba1-hf-bf16-bias");
  const auto model = checkpoint.converted();
  const SelectiveScan& m = scan(*model);
  CHECK(m.inner == 80);
  CHECK(m.states == 8);
  CHECK(m.taps == 3);
  CHECK(m.rank == 5);
  CHECK(m.in.bias != nullptr);
  CHECK(m.out.bias != nullptr);
  CHECK(m.parameters.bias == nullptr);
  CHECK(m.step.bias != nullptr);
  CHECK(m.parameter_eps == 0);
  CHECK(model->block == 0);
  CHECK(model->memory == 0);
  const Block& block = model->stages[0].blocks[0];
  CHECK(!block.feed_forward);
  CHECK(block.norm1.kind == NormKind::kRms);
  CHECK(block.residual == Residual::kPreNorm);
  const auto& a_log = checkpoint.tensors.at("backbone.layers.0.mixer.A_log").values;
  const auto& taps = checkpoint.tensors.at("backbone.layers.0.mixer.conv1d.weight").values;
  for (size_t c = 0; c < m.inner; ++c) {
    for (size_t k = 0; k < m.states; ++k) {
      CHECK(std::fabs(m.a[k * m.inner + c] / -std::exp(double{a_log[c * m.states + k]}) - 1) < 6e-8);
    }
    for (size_t j = 0; j < m.taps; ++j) CHECK(m.convolution[j * m.inner + c] == taps[c * m.taps + j]);
  }
  const auto& head = std::get<TokenHead>(model->head);
  CHECK(head.projection.weight.data == std::get<TokenStem>(model->stages[0].stem).embedding.data);  // tied
  CHECK(head.norm.kind == NormKind::kRms);
}

TEST_CASE("variants are told by tensors and configuration") {
  CHECK(scan(*convert_golden("falcon-mamba-hf", "int8")).parameter_eps == 1e-3f);
  const auto untied = convert_golden("falcon-mamba-hf", "float32");
  CHECK(std::get<TokenHead>(untied->head).projection.weight.data !=
        std::get<TokenStem>(untied->stages[0].stem).embedding.data);
  Checkpoint falcon("falcon-mamba-hf");
  falcon.config.erase("mixer_rms_eps");
  CHECK(scan(*falcon.converted()).parameter_eps == 1e-6f);

  Checkpoint hf("mamba1-hf");
  const auto plain = hf.converted(Precision::kInt8);
  CHECK(plain->stages[0].blocks[0].norm1.eps == 1e-5f);
  CHECK(plain->provenance.source_file == "checkpoint");
  // A head that is stored although it is tied is not stored again; one that differs is.
  hf.tensors["lm_head.weight"] = hf.tensors["backbone.embeddings.weight"];
  CHECK(hf.converted(Precision::kInt8)->file_bytes() == plain->file_bytes());
  hf.tensors["lm_head.weight"].values[5] += 1;
  CHECK(hf.converted(Precision::kInt8)->file_bytes() > plain->file_bytes());
  hf.config["layer_norm_epsilon"] = 1e-3;
  CHECK(hf.converted()->stages[0].blocks[0].norm1.eps == 1e-3f);
  // Layer norms, where the checkpoint has their biases.
  for (const char* name : {"backbone.layers.1.norm", "backbone.norm_f"}) {
    hf.tensors[std::string(name) + ".bias"] = hf.tensors[std::string(name) + ".weight"];
  }
  const auto normed = hf.converted();
  CHECK(normed->stages[0].blocks[0].norm1.kind == NormKind::kRms);
  CHECK(normed->stages[0].blocks[1].norm1.kind == NormKind::kLayer);
  CHECK(std::get<TokenHead>(normed->head).norm.kind == NormKind::kLayer);
}

const StateSpaceDual& dual(const Model& model) {
  return std::get<StateSpaceDual>(model.stages[0].blocks[0].mixer);
}

TEST_CASE("the parts of a Mamba-2") {
  const auto original = convert_golden("mamba2-original-groups", "int8");
  CHECK(dual(*original).groups == 2);
  CHECK(dual(*original).heads == 8);
  CHECK(dual(*original).states == 24);
  CHECK(dual(*original).inner == 96);
  CHECK(dual(*original).step_min == 0.005f);
  CHECK(dual(*original).step_max == 1.2f);
  CHECK(dual(*original).in.weight.type == DataType::kInt8);
  Checkpoint hf("mamba2-hf");
  const float infinity = std::numeric_limits<float>::infinity();
  for (const nlohmann::json& limit :
       {nlohmann::json({{"__float__", "Infinity"}}), nlohmann::json("Infinity")}) {
    hf.config["time_step_limit"] = {0.25, limit};
    const auto model = hf.converted();
    CHECK(dual(*model).step_min == 0.25f);
    CHECK(dual(*model).step_max == infinity);
    CHECK(dual(*model).norm.kind == NormKind::kRms);
    CHECK(!dual(*model).d_per_channel);
  }
  // One number of D for each channel.
  Tensors& tensors = hf.tensors;
  for (const char* layer : {"0", "1"}) {
    tensors["backbone.layers." + std::string(layer) + ".mixer.D"] = {{64}, std::vector<float>(64, 0.5f)};
  }
  CHECK(dual(*hf.converted()).d_per_channel);
  Checkpoint groups("mamba2-hf");
  groups.config["n_groups"] = 2;  // of half as many states
  const auto report = take(groups.convert_to(groups.folder / "m"));
  CHECK(dual(*take(Model::load(groups.folder / "m"))).states == 16);
  CHECK(report.remarks[0].find("each of the groups by itself") != std::string::npos);
}

TEST_CASE("what is not computed of a Mamba-2 is refused by name") {
  const auto with = [&](const char* name, const nlohmann::json& value, Error code, const std::string& text) {
    Checkpoint changed("mamba2-hf");
    changed.config[name] = value;
    changed.refused(code, text);
  };
  with("norm_before_gate", true, Error::kUnsupported, "norm_before_gate");
  with("rmsnorm", false, Error::kUnsupported, "rmsnorm false");
  with("d_ssm", 32, Error::kUnsupported, "d_ssm under the inner width");
  with("n_groups", 3, Error::kCheckpoint, "64 inner channels, 8 heads, 3 groups and 128 channels");
  for (const nlohmann::json& limits : {nlohmann::json({1, 0.5}), nlohmann::json({-1, 2}), nlohmann::json({1}),
                                       nlohmann::json("none"), nlohmann::json({0, "many"})}) {
    with("time_step_limit", limits, Error::kCheckpoint, "expected two numbers, the lower one first");
  }
}

TEST_CASE("without a tokenizer a model has no text, and conversion says so") {
  const Checkpoint checkpoint("mamba1-hf");
  const auto report = take(checkpoint.convert_to(checkpoint.folder / "m"));
  REQUIRE(report.remarks.size() == 1);
  CHECK(report.remarks[0].find("no text") != std::string::npos);
  const auto model = take(Model::load(checkpoint.folder / "m"));
  CHECK(model->vocabulary.size() == 72);
  for (const std::string& text : model->vocabulary) CHECK(text.empty());
}

TEST_CASE("what is not computed is refused by name") {
  const Checkpoint good("mamba1-hf");
  const auto with = [&](const char* name, const nlohmann::json& value, const std::string& text) {
    Checkpoint changed("mamba1-hf");
    changed.config[name] = value;
    changed.refused(Error::kUnsupported, text);
  };
  with("attn_layer_idx", {1, 3}, "attn_layer_idx: a model with layers of attention");
  with("d_intermediate", 64, "d_intermediate over 0");
  with("hidden_act", "gelu", "hidden_act gelu");
  with("ssm_cfg", {{"layer", "Mamba3"}}, "ssm_cfg.layer Mamba3");
  Checkpoint other("mamba1-hf");
  other.tensors["backbone.layers.1.mixer.B_norm.weight"] = {{16}, std::vector<float>(16, 1)};
  other.refused(Error::kUnsupported, "B_norm.weight [16] has no place in this architecture");
  Checkpoint gap("mamba1-hf");
  gap.tensors.erase("backbone.layers.1.mixer.A_log");
  gap.refused(Error::kUnsupported, "has no place in this architecture");
  Checkpoint shape("mamba1-hf");
  shape.tensors["backbone.layers.2.mixer.D"] = {{32}, std::vector<float>(32, 1)};
  shape.refused(Error::kCheckpoint, "layers.2.mixer.D has shape [32], expected [64]");
  Checkpoint states("mamba1-hf");
  states.tensors["backbone.layers.0.mixer.A_log"] = {{1, 64 * 16}, std::vector<float>(64 * 16, 1)};
  states.refused(Error::kCheckpoint, "A_log: its extent 1 is 1024, expected 1 to 256");
  ConvertOptions options;
  options.block = 64;
  good.refused(Error::kArgument, "block and memory do not apply", options);
}

}  // namespace
