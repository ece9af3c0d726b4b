// Vision Longformer checkpoints: which weights are stored, and what is refused.
#include <doctest/doctest.h>

#include "tests/support/checkpoints.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

constexpr char kRelative[] = "longformer-relative";
constexpr char kOwn[] = "longformer-exact-2global-unshared";

struct Changed {
  TemporaryFolder folder;
  ConvertOptions options;
  std::string source;

  Changed(const std::string& golden, const nlohmann::json& changes) : source(golden_checkpoint(golden)) {
    auto config = nlohmann::json::parse(read_file(golden_path(golden, "case.json")));
    for (const auto& [name, value] : changes.items()) config["config"][name] = value;
    options.config_path = folder / "config.json";
    options.golden = false;
    options.precision = Precision::kFloat32;
    std::ofstream(options.config_path) << config;
  }
  std::shared_ptr<const Model> model() { return convert_and_load(source, folder / "m", options); }
  void refused(Error code, const std::string& text) {
    const Status status = convert(source, folder / "m", options).status();
    INFO(status.message());
    CHECK(status.code() == code);
    CHECK(status.message().find(text) != std::string::npos);
  }
};

const VisionWindow& window(const Model& model, size_t stage) {
  return std::get<VisionWindow>(model.stages[stage].blocks[0].mixer);
}

}  // namespace

TEST_CASE("weights that patches and global rows share are stored once") {
  const auto shared = convert_golden(kRelative, Precision::kFloat32);
  CHECK(!window(*shared, 0).global_qkv.weight);
  CHECK(!window(*shared, 0).global_out.weight);
  const auto own = convert_golden(kOwn, Precision::kFloat32);
  Tensors tensors = read_tensors(golden_checkpoint(kOwn));
  for (size_t stage = 0; stage < 3; ++stage) {
    const VisionWindow& m = window(*own, stage);
    const std::string name = "layer" + std::to_string(stage + 1) + ".1.attn.";
    REQUIRE(m.global_qkv.weight);
    const size_t d = m.qkv.inputs;
    CHECK(m.global_qkv.weight.floats()[d * d + 5] == tensors[name + "kv_global.weight"].values[5]);
    CHECK(m.global_qkv.bias[d + 3] == tensors[name + "kv_global.bias"].values[3]);
    CHECK(m.global_out.weight.floats()[7] == tensors[name + "proj_global.weight"].values[7]);
    CHECK(m.qkv.weight.floats()[d * d + 5] == tensors[name + "kv.weight"].values[5]);
  }
}

TEST_CASE("one bias that differs is a set of weights") {
  Tensors tensors = read_tensors(golden_checkpoint(kRelative));
  tensors["layer2.1.attn.proj_global.bias"].values[1] += 1;
  Changed changed(kRelative, {});
  changed.source = changed.folder / "changed.safetensors";
  write_safetensors(changed.source, tensors);
  const auto model = changed.model();
  CHECK(!window(*model, 0).global_qkv.weight);
  CHECK(window(*model, 1).global_qkv.weight);
}

TEST_CASE("the bias table is the authors', and its middle where windows see nothing around them") {
  const FloatTensor table =
      read_tensors(golden_checkpoint(kRelative))["layer1.1.attn.local_relative_position_bias_table"];
  const auto model = convert_golden(kRelative, Precision::kFloat32);
  const VisionWindow& all = window(*model, 0);
  REQUIRE(all.window == 3);
  CHECK(all.margin == 3);
  CHECK(all.edge == WindowEdge::kCut);
  for (size_t i = 0; i < table.values.size(); ++i) CHECK(all.relative_bias[i] == table.values[i]);
  const auto alone = Changed(kRelative, {{"mode", -1}}).model();
  const VisionWindow& own = window(*alone, 0);
  CHECK(own.margin == 0);
  for (size_t y = 0; y < 5; ++y) {
    for (size_t x = 0; x < 5; ++x)
      CHECK(own.relative_bias[(y * 5 + x) * 2 + 1] == table.values[((y + 3) * 11 + x + 3) * 2 + 1]);
  }
}

TEST_CASE("what the configuration says of edges, sizes and norms") {
  CHECK(window(*convert_golden(kOwn, Precision::kFloat32), 0).edge == WindowEdge::kExact);
  CHECK(window(*Changed(kRelative, {{"exact", -1}}).model(), 1).edge == WindowEdge::kTorus);
  const auto model = Changed(kRelative, {{"ln_eps", 1e-3}}).model();
  CHECK(model->stages[0].blocks[0].norm1.eps == 1e-6f);
  CHECK(model->image.resize == 54);  // 48 / 0.875, rounded down
  CHECK(Changed(kRelative, {{"resize", 60}}).model()->image.resize == 60);
  // Sizes follow from positions, or from the grid of full attention.
  CHECK(Changed(kRelative, {{"img_size", nullptr}}).model()->image.size == 48);
  CHECK(Changed("longformer-absolute-pad", {{"img_size", nullptr}}).model()->image.size == 40);
  Changed(kOwn, {{"img_size", nullptr}}).refused(Error::kCheckpoint, "img_size is not known");
}

TEST_CASE("other attention of the same repository is refused") {
  Changed(kRelative, {{"only_global", true}}).refused(Error::kUnsupported, "only_global");
  Changed(kRelative, {{"exact", 2}}).refused(Error::kUnsupported, "exact (SW_EXACT) is not -1, 0 or 1");
  Tensors tensors = read_tensors(golden_checkpoint(kRelative));
  tensors["layer1.1.attn.proj_k"] = {{144, 9}, std::vector<float>(144 * 9)};
  Changed linformer(kRelative, {});
  linformer.source = linformer.folder / "changed.safetensors";
  write_safetensors(linformer.source, tensors);
  linformer.refused(Error::kUnsupported, "attention of type linformer is not supported");
}
