// Random checkpoints in the authors' layout of encoders, converted.
#pragma once

#include <cmath>
#include <random>

#include "converter/source/safetensors.h"
#include "tests/support/goldens.h"

namespace lsrt_test {

struct EncoderCase {
  const char* name = "";
  uint32_t window = 8, rank = 8, kernel = 0;
  bool cls_last_layer = false, cls_token = false, tied = false, pair = false;
  std::vector<std::string> mixer;  // per layer; empty: all "long-short"
  uint32_t layers = 2, d = 32, heads = 2, hidden = 48, vocabulary = 40, max_length = 50, classes = 5;

  bool full(uint32_t layer) const { return !mixer.empty() && mixer[layer] == "full"; }
};

// Weights as large as a trained model's; norms and biases are off one and zero, so that a wrong term shows.
class RandomCheckpoint {
 public:
  explicit RandomCheckpoint(const EncoderCase& c) {
    add("model.embeddings.word_embeddings.weight", {c.vocabulary, c.d}, 1);
    add("model.embeddings.position_embeddings.weight", {c.max_length, c.d}, 1);
    for (uint32_t i = 0; i < (c.tied ? 1 : c.layers); ++i) {
      const std::string layer =
          c.tied ? "model.transformer." : "model.transformer_" + std::to_string(i) + ".";
      norm(layer + "norm1", c.d), norm(layer + "norm2", c.d);
      for (const char* name : {"W_q", "W_k", "W_v", "W_o"}) linear(layer + "mha." + name, c.d, c.d);
      norm(layer + "mha.dual_ln_l", c.d);
      if (!c.full(i)) {
        norm(layer + "mha.dual_ln_s", c.d);
        if (c.rank) linear(layer + "mha.dconv_fc", c.heads * c.rank, c.d);
        if (c.kernel) add(layer + "mha.conv.weight", {c.heads, 1, c.kernel, 1}, 0.3f);
      }
      linear(layer + "mlpblock.0", c.hidden, c.d), linear(layer + "mlpblock.3", c.d, c.hidden);
    }
    norm("model.norm", c.d);
    if (c.cls_last_layer || c.cls_token) add("model.cls_embed", {1, 1, c.d}, 1);
    linear("seq_classifer.mlpblock.0", c.hidden, c.pair ? 4 * c.d : c.d);
    linear("seq_classifer.mlpblock.2", c.classes, c.hidden);
  }

  void write(const std::string& path) const {
    std::vector<NamedTensor> tensors;
    for (const Tensor& t : tensors_) tensors.push_back({t.name, "F32", t.shape, t.values.data()});
    REQUIRE(write_safetensors(path, tensors).ok());
  }

 private:
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    std::vector<float> values;
  };

  void add(const std::string& name, const std::vector<int64_t>& shape, float deviation, float mean = 0) {
    size_t n = 1;
    for (int64_t extent : shape) n *= extent;
    std::vector<float> values(n);
    std::normal_distribution<float> normal(mean, deviation);
    for (float& v : values) v = normal(random_);
    tensors_.push_back({name, shape, std::move(values)});
  }
  void linear(const std::string& name, uint32_t outputs, uint32_t inputs) {
    add(name + ".weight", {outputs, inputs}, 1.5f / std::sqrt(static_cast<float>(inputs)));
    add(name + ".bias", {outputs}, 0.2f);
  }
  void norm(const std::string& name, uint32_t width) {
    add(name + ".weight", {width}, 0.2f, 1), add(name + ".bias", {width}, 0.2f);
  }

  std::mt19937 random_{11};
  std::vector<Tensor> tensors_;
};

inline std::shared_ptr<const Model> random_encoder(const EncoderCase& c, Precision precision) {
  const TemporaryFolder folder;
  const std::string checkpoint = folder / "checkpoint.safetensors", config = folder / "config.json";
  RandomCheckpoint(c).write(checkpoint);
  nlohmann::json json = {{"num_head", c.heads},
                         {"num_layers", c.layers},
                         {"window_size", c.window},
                         {"cls_token", c.cls_token},
                         {"cls_last_layer", c.cls_last_layer}};
  if (!c.mixer.empty()) json["mixer"] = c.mixer;
  std::ofstream(config) << json;
  ConvertOptions options;
  options.config_path = config;
  options.precision = precision;
  return convert_checkpoint(checkpoint, options);
}

}  // namespace lsrt_test
