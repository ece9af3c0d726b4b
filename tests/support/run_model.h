// Runs a model of any family on random inputs of its own: what tests compare, and what must not break.
#pragma once

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "runtime/classify/encoder_network.h"
#include "runtime/classify/slide_network.h"
#include "runtime/classify/vision_network.h"
#include "runtime/text/session.h"
#include "tests/support/random.h"

namespace lsrt_test {

using namespace lsrt;

// How a model is run; none of it may change an int8 result.
struct RunOptions {
  std::string isa;
  size_t threads = 1;
  size_t max_batch = 0;  // 0: the default
  uint64_t splits = 0;   // of a text into calls; 0: one call
};

struct Inputs {
  std::vector<int32_t> tokens;                         // lm
  size_t block = 0, memory = 0;                        // lm: 0: the model's
  std::vector<std::vector<int32_t>> documents, masks;  // encoder; a mask may be empty
  std::vector<float> images;                           // vil
  std::vector<float> tiles, coords;                    // slide
  size_t count = 1;                                    // of documents, images or tiles, or of pairs
};

// One line for messages: what is particular about a model.
inline std::string summary(const Model& model) {
  std::string text =
      std::string(family_name(model.family)) + ", width " + std::to_string(model.stages[0].width);
  if (model.family == Family::kLm) {
    text += ", block " + std::to_string(model.block) + ", memory " + std::to_string(model.memory);
  } else if (model.family == Family::kEncoder) {
    text += ", length " + std::to_string(model.sequence.max_length);
  }
  const auto add = [&](const char* kind, auto... numbers) {
    text += std::string("; ") + kind;
    ((text += " " + std::to_string(numbers)), ...);
  };
  for (const Stage& stage : model.stages) {
    if (const auto* stem = std::get_if<PatchStem>(&stage.stem)) {
      add("stage: width, grid, patch, cls", stage.width, stem->grid, stem->patch, stem->cls_count);
    }
    for (const Block& block : stage.blocks) {
      std::visit(
          [&](const auto& m) {
            using Mixer = std::decay_t<decltype(m)>;
            int int8 = 1;
            m.for_each_linear([&](const LinearView& layer) { int8 &= layer.weight.type == DataType::kInt8; });
            if constexpr (std::is_same_v<Mixer, CausalLongShort>) {
              add("causal: int8, heads, window, chunk, rank, residual", int8, m.heads, m.window, m.chunk,
                  m.rank, static_cast<int>(block.residual));
            } else if constexpr (std::is_same_v<Mixer, EncoderLongShort>) {
              add("long-short: int8, heads, window, rank, kernel", int8, m.heads, m.window, m.rank, m.kernel);
            } else if constexpr (std::is_same_v<Mixer, VisionLongShort>) {
              add("long-short: int8, heads, window, rank", int8, m.heads, m.window, m.rank);
            } else if constexpr (std::is_same_v<Mixer, VisionWindow>) {
              add("windows: int8, heads, window, margin, edge", int8, m.heads, m.window, m.margin,
                  static_cast<int>(m.edge));
            } else if constexpr (std::is_same_v<Mixer, GlobalFilter>) {
              add("filter");
            } else if constexpr (std::is_same_v<Mixer, DilatedAttention>) {
              add("dilated: int8, heads, dilations", int8, m.heads, m.dilation_count);
              for (uint32_t i = 0; i < m.dilation_count; ++i)
                add("segment, ratio", m.dilations[i].segment, m.dilations[i].ratio);
            } else if constexpr (std::is_same_v<Mixer, SelectiveScan>) {
              add("scan: int8, channels, states, taps, rank", int8, m.inner, m.states, m.taps, m.rank);
            } else if constexpr (std::is_same_v<Mixer, StateSpaceDual>) {
              add("dual: int8, heads, groups, channels, states, taps", int8, m.heads, m.groups, m.inner,
                  m.states, m.taps);
            } else {
              add("full: int8, heads", int8, m.heads);
            }
          },
          block.mixer);
    }
  }
  return text;
}

// Whether all linear layers are of this type.
inline bool all_linear(const Model& model, DataType type) {
  const auto is = [&](const LinearView& layer) { return layer.weight.type == type; };
  bool all = true;
  for (const Stage& stage : model.stages) {
    if (const auto* stem = std::get_if<PatchStem>(&stage.stem)) all = all && is(stem->projection);
    if (const auto* stem = std::get_if<TileStem>(&stage.stem)) all = all && is(stem->projection);
    for (const Block& block : stage.blocks) {
      if (block.feed_forward) all = all && is(block.feed_forward.fc1) && is(block.feed_forward.fc2);
      std::visit(
          [&](const auto& m) { m.for_each_linear([&](const auto& layer) { all = all && is(layer); }); },
          block.mixer);
    }
  }
  if (const auto* head = std::get_if<TokenHead>(&model.head)) return all && is(head->projection);
  if (std::holds_alternative<EmbeddingHead>(model.head)) return all;
  for (const LinearView& layer : std::get<ClassifierHead>(model.head).layers) all = all && is(layer);
  return all;
}

// Of a random slide, at most.
constexpr double kMostTiles = 2000;

// Multiply-adds of one token, one tile or one patch of the first stage, roughly.
inline double work_per_row(const Model& model) {
  double work = 0;
  for (const TensorView& tensor : model.tensors()) work += static_cast<double>(tensor.elements());
  for (const Stage& stage : model.stages) {
    for (const Block& block : stage.blocks) {
      double keys = 0, heads = 0;  // a key costs something for each head, however narrow
      if (const auto* scan = std::get_if<SelectiveScan>(&block.mixer)) {
        work += 20.0 * scan->states * scan->inner;
        continue;
      }
      if (const auto* dual = std::get_if<StateSpaceDual>(&block.mixer)) {
        work += 20.0 * dual->states * dual->inner;
        continue;
      }
      if (std::holds_alternative<GlobalFilter>(
              block.mixer)) {  // about 4 grid steps a channel, and its tables
        work += 8.0 * std::get<PatchStem>(stage.stem).grid * stage.width;
        continue;
      }
      if (const auto* m = std::get_if<CausalLongShort>(&block.mixer)) {
        heads = m->heads;
        keys = m->window + (static_cast<double>(model.memory) + model.block) / m->chunk * m->rank;
      } else if (const auto* e = std::get_if<EncoderLongShort>(&block.mixer)) {
        heads = e->heads;
        keys =
            std::min(2.0 * e->window, static_cast<double>(model.sequence.max_length)) + e->rank + e->kernel;
      } else if (const auto* v = std::get_if<VisionLongShort>(&block.mixer)) {
        heads = v->heads;
        const double side = std::min<double>(2.0 * v->window + 1, model.image.size);
        keys = side * side + v->rank;
      } else if (const auto* w = std::get_if<VisionWindow>(&block.mixer)) {
        heads = w->heads;
        const double side = w->window + 2.0 * w->margin, size = model.image.size;
        const bool torus = w->edge == WindowEdge::kTorus;  // where groups may be larger than the image
        keys = torus ? side * side * std::max(1.0, w->window * w->window / (size * size))
                     : std::min(side * side, size * size);
      } else if (const auto* l = std::get_if<DilatedAttention>(&block.mixer)) {
        heads = l->heads;
        for (uint32_t i = 0; i < l->dilation_count; ++i) {
          const auto& dilation = l->dilations[i];
          keys += 1 + std::min<double>(dilation.segment, kMostTiles) / dilation.ratio;
          // Lists of each group, for all heads or each one by itself.
          if (dilation.segment < 64) work += 256 * l->heads / dilation.segment;
        }
      } else {
        heads = std::get<FullAttention>(block.mixer).heads;
        keys = model.family == Family::kVil ? static_cast<double>(model.image.size) * model.image.size
                                            : model.sequence.max_length;
      }
      work += 2 * keys * (stage.width + 8 * heads);
    }
  }
  return work;
}

// Inputs that cost no more than `most` multiply-adds where that is possible.
inline Inputs random_inputs(const Model& model, Random& random, double most) {
  Inputs in;
  const auto affordable = static_cast<size_t>(std::clamp(most / work_per_row(model), 1.0, 1e6));
  if (model.family == Family::kLm) {
    size_t unit = 1, longest = 1;  // what chunks divide, and what memory must hold
    for (const Block& block : model.stages[0].blocks) {
      const auto* mixer = std::get_if<CausalLongShort>(&block.mixer);
      if (!mixer) continue;
      unit = std::lcm(unit, mixer->chunk);
      longest = std::max<size_t>(longest, mixer->window);
    }
    const bool counted = model.block > 0;  // in blocks
    if (counted && random.chance(20))
      in.block = unit * random.in(1, std::max<size_t>(2 * model.block / unit, 1));
    if (counted && random.chance(20))
      in.memory = unit * random.in((longest + unit - 1) / unit, 2 * model.memory / unit);
    const size_t block = in.block ? in.block : model.block, memory = in.memory ? in.memory : model.memory;
    const size_t wanted = memory + 2 * block + random.in(1, 40);
    in.tokens.resize(std::min(wanted, affordable));
    for (int32_t& token : in.tokens) token = static_cast<int32_t>(random.in(0, model.vocabulary.size() - 1));
  } else if (model.family == Family::kEncoder) {
    const auto& embedding = std::get<TokenStem>(model.stages[0].stem).embedding;
    const size_t documents = std::get<ClassifierHead>(model.head).pair ? 2 : 1;
    for (size_t i = 0; i < documents; ++i) {
      const size_t longest = std::min<size_t>(model.sequence.max_length, affordable);
      std::vector<int32_t> tokens(random.chance(50) ? longest : random.in(1, longest)),
          mask(tokens.size(), 1);
      for (int32_t& token : tokens) token = static_cast<int32_t>(random.in(0, embedding.shape[0] - 1));
      const uint32_t kind = random.in(0, 2);  // no mask; padding at the end; holes
      const size_t real = random.in(1, mask.size());
      const uint32_t holes = random.in(1, 90);
      for (size_t t = 0; t < mask.size(); ++t) mask[t] = kind == 1 ? t < real : !random.chance(holes);
      mask[random.in(0, mask.size() - 1)] = 1;
      in.documents.push_back(tokens);
      in.masks.push_back(kind == 0 ? std::vector<int32_t>() : mask);
    }
  } else if (model.family == Family::kSlide) {
    const auto& stem = std::get<TileStem>(model.stages[0].stem);
    in.count = std::min<size_t>(affordable, random.chance(50) ? random.in(1, 60) : random.in(1, kMostTiles));
    in.tiles.resize(in.count * stem.projection.inputs), in.coords.resize(in.count * 2);
    for (float& feature : in.tiles) feature = random.uniform(-2, 2);
    const uint32_t farthest = std::min(stem.cells - 1, kMaxTilePixels / stem.tile);  // exact in float32
    for (float& coord : in.coords) {
      coord = static_cast<float>(random.in(0, farthest) * stem.tile);
      if (stem.tile <= 512 && stem.cells <= 2048) coord += random.uniform(0, 0.9f) * stem.tile;
    }
  } else {
    const double pixels = static_cast<double>(model.image.size) * model.image.size;
    in.count =
        static_cast<size_t>(std::clamp(most / pixels / work_per_row(model), 1.0, double(random.in(1, 4))));
    in.images.resize(in.count * 3 * static_cast<size_t>(pixels));
    for (float& value : in.images) value = random.uniform(-2, 2);
  }
  return in;
}

// All outputs: log-probabilities after every token, logits or an embedding.
inline Result<std::vector<float>> run_model(const std::shared_ptr<const Model>& model, const Inputs& in,
                                            const RunOptions& options) {
  LSRT_ASSIGN(std::shared_ptr<Backend> backend, Backend::create({"cpu", options.isa}, model));
  std::vector<float> out;
  if (model->family == Family::kLm) {
    CausalOptions causal;
    causal.threads = options.threads, causal.max_rows = options.max_batch;
    causal.block = in.block, causal.memory = in.memory;
    LSRT_ASSIGN(const std::unique_ptr<Session> session, Session::create(backend, causal));
    out.resize(in.tokens.size() * session->vocabulary());
    Random random(options.splits);
    for (size_t done = 0, n; done < in.tokens.size(); done += n) {
      n = in.tokens.size() - done;
      if (options.splits) n = std::min<size_t>(n, random.chance(50) ? random.in(1, 20) : random.in(1, 400));
      LSRT_TRY(session->feed(&in.tokens[done], n, Session::Output::kAll, &out[done * session->vocabulary()]));
    }
    return out;
  }
  if (model->family == Family::kSlide) {
    SlideOptions slide;
    slide.threads = options.threads;
    slide.max_tiles = options.max_batch ? std::max(in.count, options.max_batch) : in.count;
    LSRT_ASSIGN(const std::unique_ptr<SlideNetwork> network, SlideNetwork::create(backend, slide));
    out.resize(network->width());
    LSRT_TRY(network->run(in.tiles.data(), in.coords.data(), in.count, out.data()));
    return out;
  }
  ClassifierOptions classifier;
  classifier.threads = options.threads;
  if (options.max_batch) classifier.max_batch = options.max_batch;
  if (model->family == Family::kEncoder) {
    LSRT_ASSIGN(const std::unique_ptr<EncoderNetwork> network, EncoderNetwork::create(backend, classifier));
    std::vector<Document> documents;
    for (size_t i = 0; i < in.documents.size(); ++i) {
      documents.push_back({in.documents[i].data(), in.documents[i].size(),
                           in.masks[i].empty() ? nullptr : in.masks[i].data()});
    }
    out.resize(network->classes());
    LSRT_TRY(network->run(documents.data(), out.data(), nullptr));
    return out;
  }
  LSRT_ASSIGN(const std::unique_ptr<VisionNetwork> network, VisionNetwork::create(backend, classifier));
  out.resize(in.count * network->classes());
  LSRT_TRY(network->run(in.images.data(), in.count, out.data()));
  return out;
}

}  // namespace lsrt_test
