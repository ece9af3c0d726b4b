// LongNet checkpoints: which tensor goes where, what --config tells, defaults, and what is refused.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/support/checkpoints.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

constexpr char kName[] = "longnet";

struct Changed {
  TemporaryFolder folder;
  Tensors tensors = read_tensors(golden_checkpoint(kName));
  ConvertOptions options = golden_options(kName, Precision::kFloat32);

  Changed() { options.golden = false; }
  std::string source() const {
    const std::string path = folder / "changed.safetensors";
    write_safetensors(path, tensors);
    return path;
  }
  void configure(const std::string& json) {
    options.config_path = folder / "config.json";
    write_file(options.config_path, json);
  }
  std::shared_ptr<const Model> model() { return convert_and_load(source(), folder / "m", options); }
  void refused(Error code, const std::string& text) {
    const Status status = convert(source(), folder / "m", options).status();
    INFO(status.message());
    CHECK(status.code() == code);
    CHECK(status.message().find(text) != std::string::npos);
  }
};

const DilatedAttention& mixer(const Model& model) {
  return std::get<DilatedAttention>(model.stages[0].blocks[1].mixer);
}

}  // namespace

TEST_CASE("tensors are where the network looks for them") {
  Tensors tensors = read_tensors(golden_checkpoint(kName));
  const auto model = convert_golden(kName, Precision::kFloat32);
  const uint32_t d = 32, head_dim = 4;
  CHECK(model->family == Family::kSlide);
  const Block& block = model->stages[0].blocks[1];
  const std::string layer = "encoder.layers.1.", attention = layer + "self_attn.";
  const LinearView& qkv = mixer(*model).qkv;
  const auto scaled = static_cast<float>(1 / std::sqrt(static_cast<double>(head_dim)));
  for (size_t i = 0; i < d * d; ++i) {
    CHECK(qkv.weight.floats()[i] == tensors[attention + "q_proj.weight"].values[i] * scaled);
    CHECK(qkv.weight.floats()[d * d + i] == tensors[attention + "k_proj.weight"].values[i]);
    CHECK(qkv.weight.floats()[2 * d * d + i] == tensors[attention + "v_proj.weight"].values[i]);
  }
  CHECK(mixer(*model).out.bias[3] == tensors[attention + "out_proj.bias"].values[3]);
  const std::pair<NormView, std::string> norms[] = {
      {block.norm1, layer + "self_attn_layer_norm"},
      {block.norm_mixed, attention + "inner_attn_ln"},
      {block.norm2, layer + "final_layer_norm"},
      {block.feed_forward.norm, layer + "ffn.ffn_layernorm"},
      {std::get<EmbeddingHead>(model->head).norm, "encoder.layer_norm"}};
  for (const auto& [norm, bound] : norms) {
    const std::string& name = bound;  // which CAPTURE can hold
    CAPTURE(name);
    CHECK(norm.gamma[5] == tensors[name + ".weight"].values[5]);
    CHECK(norm.beta[7] == tensors[name + ".bias"].values[7]);
    CHECK(norm.eps == 1e-5f);
  }
  const auto& head = std::get<EmbeddingHead>(model->head);
  CHECK(head.output_norm.gamma[5] == tensors["norm.weight"].values[5]);
  CHECK(head.output_norm.eps == 1e-6f);
  CHECK(head.pool == Pool::kCls);
  const auto& stem = std::get<TileStem>(model->stages[0].stem);
  CHECK(stem.cls_token[9] == tensors["cls_token"].values[9]);
  CHECK(stem.projection.inputs == 12);
  CHECK(stem.tile == 256);
  CHECK(stem.cells == 20);
  const float* places = stem.positions.floats();
  for (size_t cell = 0; cell < 20; ++cell) {
    for (size_t k = 0; k < d / 4; ++k) {
      const double f = std::pow(10000.0, -static_cast<double>(k) / (d / 4));
      CHECK(places[cell * d / 2 + k] == doctest::Approx(std::sin(cell * f)).epsilon(1e-6));
      CHECK(places[cell * d / 2 + d / 4 + k] == doctest::Approx(std::cos(cell * f)).epsilon(1e-6));
    }
  }
}

TEST_CASE("a configuration tells what shapes do not, and else it is as published") {
  const auto given = convert_golden(kName, Precision::kInt8);
  CHECK(mixer(*given).heads == 8);
  REQUIRE(mixer(*given).dilation_count == 3);
  CHECK(mixer(*given).dilations[1].segment == 20);
  CHECK(mixer(*given).dilations[2].ratio == 4);
  CHECK(std::get<EmbeddingHead>(convert_golden("longnet-mean", Precision::kInt8)->head).pool == Pool::kMean);
  Changed plain;
  plain.options.config_path.clear();
  const auto model = plain.model();
  CHECK(mixer(*model).heads == 16);
  REQUIRE(mixer(*model).dilation_count == 5);
  const std::pair<uint32_t, uint32_t> published[] = {
      {1024, 1}, {5792, 2}, {32768, 4}, {185363, 8}, {1048576, 16}};
  for (size_t i = 0; i < 5; ++i) {
    CHECK(mixer(*model).dilations[i].segment == published[i].first);
    CHECK(mixer(*model).dilations[i].ratio == published[i].second);
  }
  CHECK(std::get<TileStem>(model->stages[0].stem).cells == 1000);
  CHECK(std::get<EmbeddingHead>(model->head).pool == Pool::kCls);
}

TEST_CASE("what does not fit is refused by name") {
  const auto refused = [](const std::string& config, Error code, const std::string& text) {
    Changed c;
    c.configure(config);
    c.refused(code, text);
  };
  refused("{\"heads\": 5}", Error::kCheckpoint, "the width 32 is no multiple of 5 heads; --config has heads");
  refused("{\"layers\": 3}", Error::kCheckpoint, "layers is 3, but the tensors have 2");
  refused("{\"ratios\": [1, 2]}", Error::kCheckpoint, "ratios 1,2: expected as many of both, at most 8");
  refused("{\"ratios\": [2], \"segments\": [8]}", Error::kCheckpoint, "one ratio of 1");
  refused("{\"ratios\": \"1,2\"}", Error::kCheckpoint, "ratios is \"1,2\", expected a list of integers in 1");
  refused("{\"ratios\": [1, 2.5]}", Error::kCheckpoint,
          "ratios is [1,2.5], expected a list of integers in 1");
  refused("{\"segments\": []}", Error::kCheckpoint, "segments is [], expected a list of integers in 1");
  refused("{\"segments\": [1, 0]}", Error::kCheckpoint,
          "segments is [1,0], expected a list of integers in 1");
  refused("{\"slide_ngrids\": 1048576}", Error::kUnsupported, "slide_ngrids is 1048576, at most");
  refused("{\"tile_size\": 0}", Error::kCheckpoint, "tile_size is 0");
  {
    Changed c;
    c.tensors.erase("encoder.layers.1.self_attn.inner_attn_ln.bias");
    c.refused(Error::kCheckpoint, "encoder.layers.1.self_attn.inner_attn_ln.bias is missing");
  }
  {
    Changed c;
    c.tensors["encoder.layers.0.ffn.fc2.weight"] = {{2, 2}, std::vector<float>(4)};
    c.refused(Error::kCheckpoint, "encoder.layers.0.ffn.fc2.weight has shape [2, 2]");
  }
  {
    Changed c;
    c.tensors["head.weight"] = {{2, 2}, std::vector<float>(4)};
    c.refused(Error::kUnsupported, "head.weight [2, 2] has no place in this architecture");
  }
  {
    Changed c;
    c.tensors["patch_embed.proj.weight"] = {{30, 12}, std::vector<float>(360)};
    c.refused(Error::kCheckpoint, "width 30 (a multiple of 4)");
  }
  {
    Changed c;
    c.options.family = "vil";
    c.refused(Error::kCheckpoint, "fit no model of family vil");
  }
}
