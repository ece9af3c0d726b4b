// Models of a few kilobytes with random weights, for tests of the loader and the writer.
#pragma once

#include <string>

#include "converter/families/names_encoder.h"
#include "converter/families/names_gfnet.h"
#include "converter/families/names_lm.h"
#include "converter/families/names_longformer.h"
#include "converter/families/names_longnet.h"
#include "converter/families/names_mamba.h"
#include "converter/families/names_vil.h"
#include "converter/golden.h"
#include "runtime/model/model.h"

namespace lsrt_test {

using namespace lsrt;

struct TinyOptions {
  bool force_defaults = false;  // store fields that have their default value too
  bool golden = false;          // with made-up outputs
};

inline ModelBytes tiny_model(const ModelPlan& plan, Precision precision, const TinyOptions& options,
                             const Array& golden_output, const Provenance& origin = {}) {
  GoldenArrays golden;  // made only where it is stored: the input of a huge image is huge, too
  if (options.golden) golden = {plan.golden_inputs(), {golden_output}};
  const auto describe = [&](ModelWriter& writer) {
    writer.builder().ForceDefaults(options.force_defaults);
    ModelBuilder builder(writer, plan.source, precision, nullptr);
    const ModelParts parts = plan.describe(builder);
    const auto stored = options.golden ? describe_golden(writer, golden) : 0;
    writer.builder().ForceDefaults(options.force_defaults);
    return describe_model(writer, plan.family, parts, origin, stored);
  };
  ModelBytes bytes;
  const auto sink = [&](const void* data, size_t size) {
    bytes.insert(bytes.end(), static_cast<const uint8_t*>(data), static_cast<const uint8_t*>(data) + size);
    return Status();
  };
  const Status status =
      ModelWriter::write(describe, sink, [](size_t, size_t, const std::string&) { return Status(); });
  return status.ok() ? bytes : ModelBytes();
}

inline Array float_array(const std::string& name, const std::vector<uint32_t>& shape) {
  size_t count = 1;
  for (uint32_t extent : shape) count *= extent;
  return {name, DataType::kFloat32, shape, std::vector<uint8_t>(count * sizeof(float))};
}

inline LmParameters tiny_lm_parameters() {
  LmParameters p;
  p.layers = 2;
  p.d = 32;
  p.heads = 2;
  p.hidden = 64;
  p.chunk = 4;
  p.rank = 2;
  p.window = 8;
  p.block = 8;
  p.memory = 16;
  p.pre_ln = p.gelu = true;
  p.vocabulary = {"", "", "\n", "", "a", "b", "c", " ", "\xff", ""};
  return p;
}

inline ModelBytes tiny_lm(Precision precision, const TinyOptions& options = {}) {
  return tiny_model(plan_lm(tiny_lm_parameters(), WeightSource()), precision, options,
                    float_array("logprobs", {1, 64, 10}));
}

// Every byte is a token, id = byte + 1; then come joined ones and an added one of each kind.
inline BytePairVocabulary tiny_vocabulary() {
  BytePairVocabulary v;
  v.texts = {"<end>"};
  for (int byte = 0; byte < 256; ++byte) v.texts.emplace_back(1, static_cast<char>(byte));
  v.texts.insert(v.texts.end(), {"ab", "abab", " a", "\xC3\xA9", "  "});
  const auto id = [](char c) { return static_cast<uint8_t>(c) + 1u; };
  v.merges = {
      {id('a'), id('b'), 257}, {257, 257, 258}, {id(' '), id('a'), 259}, {id('\xC3'), id('\xA9'), 260}};
  v.added = {{0, false, true}, {261, true, false}};
  v.nfc = true;
  return v;
}

// A text model of a selective scan, whose tokens are byte pairs.
inline ModelBytes tiny_byte_pairs(const BytePairVocabulary& vocabulary = tiny_vocabulary(),
                                  const TinyOptions& options = {}) {
  MambaParameters p;
  p.layers = 1;
  p.d = 16, p.inner = 32, p.states = 4, p.taps = 3, p.rank = 2;
  p.vocabulary = vocabulary;
  p.vocabulary_size = static_cast<uint32_t>(vocabulary.texts.size()) + 2;
  return tiny_model(plan_mamba(p, WeightSource()), Precision::kInt8, options,
                    float_array("logprobs", {1, 96, p.vocabulary_size}));
}

// The same, of a state space dual: four heads in two groups.
inline ModelBytes tiny_dual() {
  MambaParameters p;
  p.layers = 1;
  p.d = 16, p.inner = 32, p.states = 4, p.taps = 3;
  p.heads = 4, p.groups = 2;
  p.vocabulary = tiny_vocabulary();
  p.vocabulary_size = static_cast<uint32_t>(p.vocabulary.texts.size());
  return tiny_model(plan_mamba(p, WeightSource()), Precision::kInt8, {}, {});
}

// 16 x 16 pixels: long-short attention on a grid of 8, then full attention with a cls row on a grid of 4.
inline VilParameters tiny_vil_parameters() {
  VilParameters p;
  p.stages = parse_vil_architecture("l1,h2,d16,n1,s1,g1,p2,f2,a0,r2_l2,h2,d32,n1,s0,g1,p2,a0").take();
  p.size = 16;
  p.resize = 18;
  p.classes = 5;
  p.labels = {"a", "b", "c", "d", "e"};
  return p;
}

inline ModelBytes tiny_vil(Precision precision, const TinyOptions& options = {}) {
  return tiny_model(plan_vil(tiny_vil_parameters(), WeightSource()), precision, options,
                    float_array("logits", {1, 5}));
}

// Windows on a grid of 8 with two global rows that have weights of their own.
inline ModelBytes tiny_longformer(Precision precision, const TinyOptions& options = {}) {
  LongformerParameters p;
  p.vil = tiny_vil_parameters();
  p.vil.stages = parse_vil_architecture("l1,h2,d16,n1,s1,g2,p2,f2,a0").take();
  p.own_globals = {"layer1.1.attn."};
  return tiny_model(plan_longformer(p, WeightSource()), precision, options, float_array("logits", {1, 5}));
}

// Filters on grids of 6 and 3.
inline ModelBytes tiny_gfnet(Precision precision, const TinyOptions& options = {}) {
  GfnetParameters p;
  p.stages = {{16, 2, 6, 1}, {24, 2, 3, 2}};
  p.pyramid = true;
  p.size = 12, p.resize = 13;
  p.classes = 5;
  return tiny_model(plan_gfnet(p, WeightSource()), precision, options, float_array("logits", {1, 5}));
}

// Two heads of each residue of the largest ratio.
inline ModelBytes tiny_longnet(Precision precision, const TinyOptions& options = {}) {
  LongnetParameters p;
  p.layers = 2;
  p.d = 16, p.hidden = 24, p.features = 6;
  p.heads = 4;
  p.segments = {8, 12}, p.ratios = {1, 2};
  p.tile = 16, p.cells = 20;
  return tiny_model(plan_longnet(p, WeightSource()), precision, options, float_array("embedding", {1, 16}));
}

inline ModelBytes tiny_encoder(Precision precision, const TinyOptions& options = {}) {
  EncoderParameters p;
  p.layers = 2;
  p.d = 16;
  p.heads = 2;
  p.hidden = 32;
  p.vocabulary = 20;
  p.max_length = 24;
  p.window = 4;
  p.rank = 3;
  p.kernel = 3;
  p.cls = p.cls_last_layer = true;
  p.classifier_hidden = 8;
  p.classes = 3;
  return tiny_model(plan_encoder(p, WeightSource()), precision, options, float_array("logits", {1, 3}));
}

// Where the weight section of a model file starts: with the stem's weights.
inline size_t first_weight(const ModelBytes& bytes) {
  const fb::Stage* stage = fb::GetModel(bytes.data())->stages()->Get(0);
  const fb::Tensor* tensor =
      stage->stem_type() == fb::Stem::TokenStem  ? stage->stem_as_TokenStem()->embedding()
      : stage->stem_type() == fb::Stem::TileStem ? stage->stem_as_TileStem()->projection()->weight()
                                                 : stage->stem_as_PatchStem()->projection()->weight();
  return tensor->data()->offset();
}

}  // namespace lsrt_test
