// Conversion of the authors' checkpoints: what the model files hold. What they compute: golden tests.
#include "converter/convert.h"

#include <doctest/doctest.h>

#include <cmath>

#include "converter/random_model.h"
#include "tests/support/checkpoints.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

template <typename T>
const T& mixer(const Model& model, size_t stage, size_t block) {
  return std::get<T>(model.stages[stage].blocks[block].mixer);
}

TEST_CASE("every golden converts in both precisions") {
  const TemporaryFolder folder;
  for (const std::string& name : golden_names()) {
    CAPTURE(name);
    ConvertOptions options = golden_options(name, Precision::kInt8);
    const auto int8 = convert_and_load(golden_checkpoint(name), folder / "int8.lsrt", options);
    options.precision = Precision::kFloat32;
    const auto float32 = convert_and_load(golden_checkpoint(name), folder / "float32.lsrt", options);
    CHECK(int8->is_int8());
    CHECK(!float32->is_int8());
    CHECK(int8->tensors().size() == float32->tensors().size());
    CHECK(float32->golden.inputs.size() > 0);
    CHECK(float32->golden.max_difference < 1e-5f);
    CHECK(int8->provenance.source_sha256.size() == 64);
    const std::string checkpoint = golden_checkpoint(name);
    const bool zip = checkpoint.find(".safetensors") == std::string::npos &&
                     !std::filesystem::exists(checkpoint + "/model.safetensors");
    CHECK(int8->provenance.source_format == (zip ? "pytorch-zip" : "safetensors"));
    CHECK(folder.entries() == 2);
  }
}

TEST_CASE("the parts of a causal layer") {
  const std::string name = "lm-postln-relu-bias";  // with biases and clamped positions
  const TemporaryFolder folder;
  const auto model =
      convert_and_load(golden_checkpoint(name), folder / "m", golden_options(name, Precision::kFloat32));
  Tensors tensors = read_tensors(golden_checkpoint(name));
  const std::string attention = "decoder.model.layers.1.attn.";
  const auto& layer = mixer<CausalLongShort>(*model, 0, 1);
  const uint32_t d = 48, head_dim = 16;
  const float* qkv = layer.qkv.weight.floats();
  for (size_t i = 0; i < d * d; i++) {
    CHECK(qkv[i] == tensors[attention + "proj_query.weight"].values[i] / 4);
    CHECK(qkv[d * d + i] == tensors[attention + "proj_key.weight"].values[i]);
    CHECK(qkv[2 * d * d + i] == tensors[attention + "proj_val.weight"].values[i]);
  }
  CHECK(layer.qkv.outputs == 3 * d + 3);
  CHECK(layer.qkv.bias[1] == tensors[attention + "proj_query.bias"].values[1] / 4);
  CHECK(layer.qkv.bias[3 * d + 2] == tensors[attention + "dconv_1.bias"].values[2]);
  CHECK(layer.content_bias[20] == tensors[attention + "r_w_bias"].values[20]);
  CHECK(layer.position_bias[20] == tensors[attention + "r_r_bias"].values[20]);
  CHECK(model->stages[0].blocks[1].residual == Residual::kPostNorm);
  CHECK(model->stages[0].blocks[1].feed_forward.activation == Activation::kRelu);

  const auto position = [&](const std::string& projection, uint32_t row, double distance) {
    double sum = tensors.count(projection + ".bias") > 0
                     ? static_cast<double>(tensors[projection + ".bias"].values[row])
                     : 0;
    for (uint32_t k = 0; k < d; k++) {
      const double angle = distance * std::pow(10000.0, -2.0 * (k % (d / 2)) / d);
      sum += static_cast<double>(tensors[projection + ".weight"].values[row * d + k]) *
             (k < d / 2 ? std::sin(angle) : std::cos(angle));
    }
    return sum;
  };
  REQUIRE(layer.window_positions.shape[1] == 8);
  REQUIRE(layer.chunk_positions.shape[1] == (64 + 256) / 4);
  for (uint32_t head = 0; head < 3; head++) {
    for (uint32_t x = 0; x < 8; x++) {  // clamp_len 6
      const float stored = layer.window_positions.floats()[(head * 8 + x) * head_dim + 5];
      CHECK(static_cast<double>(stored) ==
            doctest::Approx(position(attention + "r_net", head * head_dim + 5, std::min(7 - x, 6u))));
    }
    for (uint32_t y = 0; y < 80; y++) {  // cpos_clamp_len 10
      const float stored = layer.chunk_positions.floats()[(head * 80 + y) * head_dim + 3];
      CHECK(static_cast<double>(stored) ==
            doctest::Approx(position(attention + "r_net_chunk", head * head_dim + 3, std::min(79 - y, 10u))));
    }
  }
}

TEST_CASE("block, memory and vocabulary of a language model") {
  const TemporaryFolder folder;
  const std::string name = "lm-preln-rank2";
  ConvertOptions options;  // the checkpoint has its hyper-parameters, dict.txt lies beside it
  options.golden = false;
  const auto model = convert_and_load(golden_checkpoint(name), folder / "m", options);
  CHECK(model->block == 256);
  CHECK(model->memory == 128);
  REQUIRE(model->vocabulary.size() == 40);
  CHECK(model->vocabulary[0].empty());
  CHECK(model->vocabulary[2] == "\n");
  CHECK(model->vocabulary[4] == "a");
  options.block = 64;
  options.memory = 512;
  const auto changed = convert_and_load(golden_checkpoint(name), folder / "m", options);
  CHECK(changed->block == 64);
  CHECK(mixer<CausalLongShort>(*changed, 0, 2).chunk_positions.shape[1] == (512 + 64) / 8 * 2);
}

TEST_CASE("relative biases and positions of a vision model are in the canonical order") {
  const std::string name = "vil-3stage-odd-window-ape";
  const TemporaryFolder folder;
  const auto model =
      convert_and_load(golden_checkpoint(name), folder / "m", golden_options(name, Precision::kFloat32));
  Tensors tensors = read_tensors(golden_checkpoint(name));
  const auto check = [&](const std::string& attention, const float* bias, int query_side, int key_side) {
    const auto& table = tensors[attention + "local_relative_position_bias_table"].values;
    const auto& index = tensors[attention + "relative_position_index"].values;
    const int margin = (key_side - query_side) / 2, reach = query_side - 1 + margin, side = 2 * reach + 1;
    for (int q = 0; q < query_side * query_side; q++) {
      for (int k = 0; k < key_side * key_side; k++) {
        const int dy = q / query_side - (k / key_side - margin),
                  dx = q % query_side - (k % key_side - margin);
        const auto row = static_cast<size_t>(index[static_cast<size_t>(q * key_side * key_side + k)]);
        for (size_t head = 0; head < 3; head++) {
          CHECK(bias[static_cast<size_t>((dy + reach) * side + dx + reach) * 3 + head] ==
                table[row * 3 + head]);
        }
      }
    }
  };
  check("layer2.1.attn.", mixer<VisionLongShort>(*model, 1, 0).relative_bias, 3, 5);
  const auto& full = mixer<FullAttention>(*model, 2, 0);
  check("layer3.1.attn.", full.relative_bias, 12, 12);
  CHECK(full.cls_bias[1] == tensors["layer3.1.attn.g2g_relative_position_bias"].values[1]);
  CHECK(full.cls_bias[3 + 5] == tensors["layer3.1.attn.g2l_relative_position_bias"].values[5]);

  const auto& stem = std::get<PatchStem>(model->stages[0].stem);
  CHECK(stem.positions[7] == tensors["layer1.0.cls_pos_embed"].values[7]);
  const float* patch = stem.positions + (1 + 5 * 24 + 9) * 48;  // row 5, column 9
  CHECK(patch[3] == tensors["layer1.0.x_pos_embed"].values[5 * 24 + 3]);
  CHECK(patch[24 + 3] == tensors["layer1.0.y_pos_embed"].values[9 * 24 + 3]);
  CHECK(std::get<ClassifierHead>(model->head).pool == Pool::kCls);
}

TEST_CASE("what the shapes of a vision checkpoint tell needs no configuration") {
  const TemporaryFolder folder;
  ConvertOptions options;
  options.golden = false;
  const auto model = convert_and_load(golden_checkpoint("vil-4stage"), folder / "m", options);
  CHECK(model->image.size == 64);
  CHECK(model->provenance.architecture.find("l2,h4,d64,n2,s1,g1,p2,a0,f4,r4_") != std::string::npos);
}

TEST_CASE("tied encoder layers are stored once") {
  const TemporaryFolder folder;
  Tensors tensors = read_tensors(golden_checkpoint("lra-listops")), tied;
  for (const auto& [name, tensor] : tensors) {
    if (name.find("transformer_1.") != std::string::npos) continue;
    std::string renamed = name;
    const size_t at = renamed.find("transformer_0.");
    if (at != std::string::npos) renamed.replace(at, 14, "transformer.");
    tied[renamed] = tensor;
  }
  write_safetensors(folder / "tied.safetensors", tied);
  ConvertOptions options = golden_options("lra-listops", Precision::kInt8);
  options.golden = false;
  const auto model = convert_and_load(folder / "tied.safetensors", folder / "m", options);
  REQUIRE(model->stages[0].blocks.size() == 2);
  CHECK(mixer<EncoderLongShort>(*model, 0, 0).qkv.weight.data ==
        mixer<EncoderLongShort>(*model, 0, 1).qkv.weight.data);
  CHECK(model->provenance.source_format == "safetensors");
}

TEST_CASE("the same checkpoint gives the same bytes, and a report") {
  const TemporaryFolder folder;
  const std::string name = "lm-preln-rank2";
  const ConvertOptions options = golden_options(name, Precision::kInt8);
  const Result<ConvertReport> report = convert(golden_checkpoint(name), folder / "a", options);
  REQUIRE_MESSAGE(report.ok(), report.status().message());
  convert_and_load(golden_checkpoint(name), folder / "b", options);
  CHECK(read_file(folder / "a") == read_file(folder / "b"));
  CHECK(report.value().golden.max_difference > 0);
  CHECK(report.value().output_bytes == std::filesystem::file_size(folder / "a"));
  for (const TensorReport& tensor : report.value().tensors) {
    CAPTURE(tensor.name);
    if (tensor.type == DataType::kInt8) CHECK(tensor.error.snr_db > 38);
  }
  REQUIRE(write_report(report.value(), folder / "report.json").ok());
  const auto json = nlohmann::json::parse(read_file(folder / "report.json"));
  CHECK(json["family"] == "lm");
  CHECK(json["tensors"].size() == report.value().tensors.size());
}

TEST_CASE("trained checkpoints") {
  const struct {
    const char *checkpoint, *dict, *config;
  } cases[] = {{"books-lm.pt", "data/books/dict.txt", ""},
               {"cifar10-vil.pth", "", "cifar10-vil.json"},
               {"authors.model", "", ""}};
  for (const auto& item : cases) {
    const std::string path = shared_path(std::string("checkpoints/") + item.checkpoint);
    if (!std::filesystem::exists(path)) {
      MESSAGE("skipped: no " << path);
      continue;
    }
    CAPTURE(path);
    const TemporaryFolder folder;
    ConvertOptions options;
    if (*item.dict != 0) options.dict_path = shared_path(item.dict);
    if (*item.config != 0) options.config_path = shared_path(std::string("checkpoints/") + item.config);
    const Result<ConvertReport> report = convert(path, folder / "m", options);
    REQUIRE_MESSAGE(report.ok(), report.status().message());
    double worst = 999;
    for (const TensorReport& tensor : report.value().tensors) {
      if (tensor.type == DataType::kInt8) worst = std::min(worst, tensor.error.snr_db);
    }
    MESSAGE(std::string(item.checkpoint) << ": worst tensor " << worst << " dB, outputs differ by "
                                         << report.value().golden.max_difference);
    CHECK(worst > 38);
    CHECK(report.value().golden.mean_kl < 0.001);
    if (report.value().golden.rows > 1) CHECK(report.value().golden.same_top > 0.95);
    const auto model = Model::load(folder / "m");
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    if (model.value()->family != Family::kLm) CHECK(model.value()->labels.size() == 10);
  }
}

TEST_CASE("models of published shapes") {
  for (const char* name : {"enwik8-base", "vil-ls-medium-224", "vil-ls-base-224", "vil-ls-medium-384", "lra",
                           "mamba-130m", "mamba2-130m", "gigapath-slide"}) {
    CAPTURE(name);
    Result<ModelBytes> bytes = random_model(name, {});
    REQUIRE_MESSAGE(bytes.ok(), bytes.status().message());
    const auto model = Model::load_bytes(bytes.take(), name);
    REQUIRE_MESSAGE(model.ok(), model.status().message());
  }
  const auto unknown = random_model("enwik9", {});
  CHECK(unknown.status().code() == Error::kArgument);
  CHECK(unknown.status().message().find("expected enwik8-base") != std::string::npos);
}

}  // namespace
