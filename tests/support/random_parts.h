// Parts of model files with random weights: what the random models of every family are made from.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "converter/families/family.h"
#include "converter/writer/random_weights.h"
#include "tests/support/random.h"

namespace lsrt_test {

using namespace lsrt;

enum class Weights { kFloat32, kInt8, kMixed };  // mixed: each linear layer as it comes

// Linear layers keep the size of what they are given; norms and biases are off one and zero, so that a term
// that is wrong or missing shows.
class RandomParts {
 public:
  RandomParts(ModelWriter& writer, Random& random, Weights weights)
      : writer_(writer), random_(random), weights_(weights) {}

  // Format 2 and later: some norms are rms norms.
  void allow_rms() { rms_ = true; }

  flatbuffers::FlatBufferBuilder& fb() { return writer_.builder(); }
  DataType type() {
    const bool int8 = weights_ == Weights::kInt8 || (weights_ == Weights::kMixed && random_.chance(50));
    return int8 ? DataType::kInt8 : DataType::kFloat32;
  }

  flatbuffers::Offset<fb::Tensor> floats(const std::string& name, const std::vector<uint32_t>& shape,
                                         float deviation, float mean = 0) {
    return writer_.tensor(name, DataType::kFloat32, shape,
                          [=, seed = random_.next()]() -> Result<TensorBytes> {
                            TensorBytes bytes = random_floats(name + std::to_string(seed), shape);
                            const float gain = deviation * std::sqrt(static_cast<float>(shape.back()));
                            for (size_t i = 0; i < bytes.data.size(); i += sizeof(float)) {
                              float value;
                              std::memcpy(&value, &bytes.data[i], sizeof value);
                              value = mean + gain * value;
                              std::memcpy(&bytes.data[i], &value, sizeof value);
                            }
                            return bytes;
                          });
  }

  // deviation: of the products with a row of ones' size. The first `scaled` rows are multiplied by scale.
  flatbuffers::Offset<fb::Tensor> weights(const std::string& name, const std::vector<uint32_t>& shape,
                                          DataType type, float deviation = 1, uint32_t scaled = 0,
                                          float scale = 1) {
    const auto columns = static_cast<float>(shape.back());
    if (type == DataType::kFloat32 && scaled == 0) {
      return floats(name, shape, deviation / std::sqrt(columns));
    }
    return writer_.tensor(name, type, shape, [=, seed = random_.next()]() -> Result<TensorBytes> {
      const std::string tag = name + std::to_string(seed);
      Random random(seed);
      if (type == DataType::kInt8) {
        TensorBytes bytes = random_int8(tag, shape);
        for (size_t row = 0; row < bytes.scales.size(); ++row) {
          bytes.scales[row] *= deviation * random.uniform(0.7f, 1.3f);
          if (row < scaled) bytes.scales[row] *= scale;
        }
        return bytes;
      }
      TensorBytes bytes = random_floats(tag, shape);
      auto* values = reinterpret_cast<float*>(bytes.data.data());
      for (size_t i = 0; i < bytes.data.size() / sizeof(float); ++i) {
        values[i] *= deviation * (i / shape.back() < scaled ? scale : 1);
      }
      return bytes;
    });
  }

  flatbuffers::Offset<fb::Linear> linear(const std::string& name, uint32_t outputs, uint32_t inputs) {
    return linear(name, outputs, inputs, type(), 0, 1);
  }
  // Queries come first and are scaled by 1 / sqrt(head_dim).
  flatbuffers::Offset<fb::Linear> qkv(uint32_t width, uint32_t heads, uint32_t rank, DataType type) {
    const float scale = 1 / std::sqrt(static_cast<float>(width / heads));
    return linear("qkv", 3 * width + heads * rank, width, type, width, scale);
  }
  flatbuffers::Offset<fb::Norm> norm(const std::string& name, uint32_t width) {
    const auto gamma = floats(name + ".gamma", {width}, 0.2f, 1);
    const float eps = random_.pick({1e-5f, 1e-6f, 1e-3f});
    if (rms_ && random_.chance(60)) return fb::CreateNorm(fb(), gamma, 0, eps, fb::NormKind::rms);
    return fb::CreateNorm(fb(), gamma, floats(name + ".beta", {width}, 0.2f), eps);
  }
  // Where it may be absent.
  flatbuffers::Offset<fb::Norm> maybe_norm(const std::string& name, uint32_t width) {
    return random_.chance(70) ? norm(name, width) : 0;
  }

  flatbuffers::Offset<fb::Block> block(uint32_t width, uint32_t hidden, Residual residual, fb::Mixer kind,
                                       flatbuffers::Offset<void> mixer) {
    const auto norm1 = norm("norm1", width), norm2 = norm("norm2", width);
    const auto fc1 = linear("fc1", hidden, width), fc2 = linear("fc2", width, hidden);
    const auto activation = static_cast<fb::Activation>(random_.in(0, 2));
    const auto feed_forward = fb::CreateFeedForward(fb(), fc1, fc2, activation);
    return fb::CreateBlock(fb(), norm1, kind, mixer, norm2, feed_forward,
                           static_cast<fb::Residual>(residual));
  }

  // The mixer is all of the block: from format 2 on.
  flatbuffers::Offset<fb::Block> mixer_block(uint32_t width, Residual residual, fb::Mixer kind,
                                             flatbuffers::Offset<void> mixer) {
    return fb::CreateBlock(fb(), norm("norm1", width), kind, mixer, 0, 0,
                           static_cast<fb::Residual>(residual));
  }

  flatbuffers::Offset<fb::SelectiveScan> selective_scan(uint32_t width, uint32_t inner, uint32_t states,
                                                        uint32_t taps, uint32_t rank) {
    const auto in = linear("in", 2 * inner, width);
    const auto convolution = floats("convolution", {taps, inner}, 1 / std::sqrt(float(taps)));
    flatbuffers::Offset<fb::Tensor> bias;
    if (random_.chance(70)) bias = floats("convolution_bias", {inner}, 0.2f);
    const auto parameters = linear("parameters", rank + 2 * states, inner);
    const auto step = linear("step", inner, rank);
    const auto a = floats("a", {states, inner}, 0.5f, -1.5f);  // uniform: all below 0
    const auto d = floats("d", {inner}, 1);
    const auto out = linear("out", width, inner);
    return fb::CreateSelectiveScan(fb(), in, convolution, bias, parameters, step, a, d, out,
                                   random_.chance(30) ? 1e-3f : 0);
  }

  flatbuffers::Offset<fb::StateSpaceDual> state_space_dual(uint32_t width, uint32_t groups, uint32_t heads,
                                                           uint32_t head_dim, uint32_t states,
                                                           uint32_t taps) {
    const uint32_t inner = heads * head_dim, convolved = inner + 2 * groups * states;
    const auto in = linear("in", inner + convolved + heads, width);
    const auto convolution = floats("convolution", {taps, convolved}, 1 / std::sqrt(float(taps)));
    flatbuffers::Offset<fb::Tensor> bias;
    if (random_.chance(70)) bias = floats("convolution_bias", {convolved}, 0.2f);
    const auto step_bias = floats("step_bias", {heads}, 1);
    const auto a = floats("a", {heads}, 0.5f, -1.5f);  // uniform: all below 0
    const auto d = floats("d", {random_.chance(50) ? heads : inner}, 1);
    const auto gamma = floats("norm.gamma", {inner}, 0.2f, 1);
    const auto norm = fb::CreateNorm(fb(), gamma, 0, 1e-3f, fb::NormKind::rms);
    const auto out = linear("out", width, inner);
    const bool limits = random_.chance(50);
    return fb::CreateStateSpaceDual(fb(), heads, groups, in, convolution, bias, step_bias, limits ? 0.1f : 0,
                                    limits ? 0.8f : std::numeric_limits<float>::infinity(), a, d, norm, out);
  }

  flatbuffers::Offset<fb::FullAttention> full_attention(uint32_t width, uint32_t heads, uint32_t grid,
                                                        bool cls) {
    const auto qkv_layer = qkv(width, heads, 0, type());
    const auto out = linear("out", width, width);
    const auto norm_keys = maybe_norm("norm_keys", width);
    flatbuffers::Offset<fb::Tensor> relative, cls_bias;
    if (grid && random_.chance(60)) {
      relative = floats("relative_bias", {(2 * grid - 1) * (2 * grid - 1), heads}, 0.5f);
    }
    if (cls && random_.chance(60)) cls_bias = floats("cls_bias", {3, heads}, 0.5f);
    return fb::CreateFullAttention(fb(), heads, qkv_layer, out, norm_keys, relative, cls_bias);
  }

  flatbuffers::Offset<fb::VisionWindow> vision_window(uint32_t width, uint32_t heads, uint32_t window,
                                                      uint32_t margin, fb::WindowEdge edge, uint32_t cls) {
    const auto qkv_layer = qkv(width, heads, 0, type());
    const auto out = linear("out", width, width);
    flatbuffers::Offset<fb::Linear> global_qkv, global_out;
    flatbuffers::Offset<fb::Tensor> relative, global_bias, among;
    if (cls && random_.chance(50)) {
      global_qkv = qkv(width, heads, 0, type());
      global_out = linear("global_out", width, width);
    }
    const uint32_t side = 2 * (window - 1 + margin) + 1;
    if (random_.chance(60)) relative = floats("relative_bias", {side * side, heads}, 0.5f);
    if (cls && random_.chance(60)) {
      global_bias = floats("global_bias", {2, heads, cls}, 0.5f);
      among = floats("global_global_bias", {heads, cls, cls}, 0.5f);
    }
    return fb::CreateVisionWindow(fb(), heads, window, margin, edge, qkv_layer, out, global_qkv, global_out,
                                  relative, global_bias, among);
  }

  flatbuffers::Offset<fb::GlobalFilter> global_filter(uint32_t width, uint32_t grid) {
    return fb::CreateGlobalFilter(fb(), floats("kernel", {width, grid, grid}, 1 / static_cast<float>(grid)));
  }

  flatbuffers::Offset<fb::DilatedAttention> dilated_attention(uint32_t width, uint32_t heads,
                                                              const std::vector<uint32_t>& segments,
                                                              const std::vector<uint32_t>& ratios) {
    const auto qkv_layer = qkv(width, heads, 0, type());
    const auto out = linear("out", width, width);
    return fb::CreateDilatedAttentionDirect(fb(), heads, &segments, &ratios, qkv_layer, out);
  }
  // Of a DilatedAttention: with norms inside, as it comes.
  flatbuffers::Offset<fb::Block> dilated_block(uint32_t width, uint32_t hidden,
                                               flatbuffers::Offset<fb::DilatedAttention> mixer) {
    const auto norm1 = norm("norm1", width), norm2 = norm("norm2", width);
    const auto norm_mixed = maybe_norm("norm_mixed", width), norm_hidden = maybe_norm("norm_hidden", hidden);
    const auto fc1 = linear("fc1", hidden, width), fc2 = linear("fc2", width, hidden);
    const auto activation = static_cast<fb::Activation>(random_.in(0, 2));
    const auto feed_forward = fb::CreateFeedForward(fb(), fc1, fc2, activation, norm_hidden);
    return fb::CreateBlock(fb(), norm1, fb::Mixer::DilatedAttention, mixer.Union(), norm2, feed_forward,
                           fb::Residual::pre_norm, norm_mixed);
  }

  flatbuffers::Offset<fb::ClassifierHead> classifier_head(uint32_t width, uint32_t hidden, uint32_t classes,
                                                          Pool pool, bool pair) {
    const auto final_norm = maybe_norm("head norm", width);
    std::vector<flatbuffers::Offset<fb::Linear>> layers;
    uint32_t inputs = pair ? 4 * width : width;
    for (uint32_t n = random_.in(0, 2); n > 0; --n, inputs = hidden) {
      layers.push_back(linear("head", hidden, inputs));
    }
    layers.push_back(linear("head", classes, inputs));
    return fb::CreateClassifierHeadDirect(fb(), final_norm, static_cast<fb::Pool>(pool), pair, &layers);
  }

 private:
  flatbuffers::Offset<fb::Linear> linear(const std::string& name, uint32_t outputs, uint32_t inputs,
                                         DataType type, uint32_t scaled, float scale) {
    const auto weight = weights(name + ".weight", {outputs, inputs}, type, 1, scaled, scale);
    flatbuffers::Offset<fb::Tensor> bias;
    if (random_.chance(70)) bias = floats(name + ".bias", {outputs}, 0.2f);
    return fb::CreateLinear(fb(), weight, bias);
  }

  ModelWriter& writer_;
  Random& random_;
  const Weights weights_;
  bool rms_ = false;
};

}  // namespace lsrt_test
