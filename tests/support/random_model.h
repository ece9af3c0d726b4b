// Random well-formed models of all families: every layer has its own kind, heads, window, rank, chunk and
// precision within what the format allows. A seed always gives the same bytes.
#pragma once

#include <algorithm>
#include <memory>

#include "converter/golden.h"
#include "tests/support/random_parts.h"

namespace lsrt_test {

using namespace lsrt;

// How far extents go. tiny: thousands can be damaged and run in seconds. usual: windows and memories over 512
// as well. extreme: a few extents near the largest that the format allows. beyond: tiny, but for a few
// extents at the limits and past them, which the loader may refuse.
enum class Extents { kTiny, kUsual, kExtreme, kBeyond };

class RandomModel {
 public:
  RandomModel(ModelWriter& writer, uint64_t seed, Extents extents, Weights weights)
      : writer_(writer),
        random_(seed),
        // A choice of its own: what seeds made before there were slides is pinned.
        slide_(seed > kSeedsBeforeSlides && seed % 8 == 0),
        extents_(extents),
        parts_(writer, random_, weights) {}

  flatbuffers::Offset<fb::Model> describe() {
    if (tiny()) parts_.fb().ForceDefaults(true);  // so that every number is there to be changed
    const Family family =
        slide_ ? Family::kSlide : random_.pick({Family::kLm, Family::kLm, Family::kEncoder, Family::kVil});
    const uint32_t format = random_.chance(40) ? 2 : 1;
    if (format == 2) parts_.allow_rms();
    ModelParts model = family == Family::kSlide            ? slide()
                       : family != Family::kLm             ? family == Family::kEncoder ? encoder() : vil()
                                   : format == 2 && random_.chance(70) ? scanned()
                                                           : lm(format);
    model.format = format;
    Provenance origin;
    origin.source_file = "random";
    return describe_model(writer_, family, model, origin, 0);
  }

 private:
  static constexpr uint64_t kSeedsBeforeSlides = 64;
  using Stages = std::vector<flatbuffers::Offset<fb::Stage>>;
  using Blocks = std::vector<flatbuffers::Offset<fb::Block>>;

  bool tiny() const { return extents_ == Extents::kTiny || extents_ == Extents::kBeyond; }
  bool extreme() const { return extents_ == Extents::kExtreme; }
  // One in six of the extents of an extreme model.
  bool far() { return extreme() && random_.chance(17); }
  bool beyond() { return extents_ == Extents::kBeyond && random_.chance(10); }

  uint32_t width() {
    if (far()) return random_.pick({510u, 511u, 512u, 1024u});
    if (beyond()) return random_.in(1, 2) * random_.pick({511u, 512u, 513u, 520u});
    if (tiny()) return random_.in(1, 24);
    return random_.chance(5) ? random_.in(65, 300) : random_.in(1, 64);
  }
  uint32_t hidden(uint32_t width) {
    return far() ? std::min(random_.in(1000, 20000), 1000000 / width) : random_.in(1, tiny() ? 24 : 100);
  }
  uint32_t classes() { return far() ? random_.in(1000, 20000) : random_.in(1, 20); }
  uint32_t heads(uint32_t width) { return beyond() ? 1 : std::max(random_.divisor(width, kMaxHeadDim), 1u); }
  uint32_t rank(uint32_t heads) {
    if (far()) return random_.in(1, std::min(2048u, kMaxWidth / heads));
    return random_.chance(25) ? 0 : random_.in(1, tiny() || random_.chance(80) ? 4 : 24);
  }
  // A block again: the whole table twice in the list, as tied layers are.
  void add(Blocks* blocks, flatbuffers::Offset<fb::Block> block) {
    blocks->push_back(block);
    if (random_.chance(15)) blocks->push_back(block);
  }

  // ---- language models

  uint32_t memory_tokens() {
    if (tiny()) return random_.in(1, 40);
    if (far()) return random_.in(5000, 40000);
    const uint32_t kind = random_.in(0, 99);
    return kind < 30   ? random_.in(1, 64)
           : kind < 50 ? random_.in(65, 512)
           : kind < 90 ? random_.in(513, 1300)
                       : random_.pick({1024u, 2048u});
  }

  // No mixer counts in blocks.
  ModelParts scanned() {
    const uint32_t d = width();
    return text_model(d, [&](Blocks* blocks) {
      for (uint32_t n = random_.in(1, 3); n > 0; --n) add(blocks, scan_block(d));
    });
  }

  flatbuffers::Offset<fb::Block> scan_block(uint32_t d) {
    const Residual residual = random_.pick({Residual::kPreNorm, Residual::kNormed, Residual::kPostNorm});
    const uint32_t inner = random_.chance(50) ? 2 * d : random_.in(1, tiny() ? 24 : 100);
    uint32_t states = random_.in(1, tiny() ? 8 : 20), taps = random_.in(1, 5);
    if (far() || beyond()) states = random_.in(kMaxStates - 1, kMaxStates + (beyond() ? 1 : 0));
    if (far() || beyond()) taps = random_.in(kMaxTaps - 1, kMaxTaps + (beyond() ? 1 : 0));
    const bool dual = random_.chance(50);
    const uint32_t groups = random_.in(1, 3), heads = groups * random_.in(1, 4), head_dim = random_.in(1, 9);
    const auto mixer = dual ? parts_.state_space_dual(d, groups, heads, head_dim, states, taps).Union()
                            : parts_.selective_scan(d, inner, states, taps, random_.in(1, 12)).Union();
    const auto kind = dual ? fb::Mixer::StateSpaceDual : fb::Mixer::SelectiveScan;
    if (random_.chance(70)) return parts_.mixer_block(d, residual, kind, mixer);
    return parts_.block(d, hidden(d), residual, kind, mixer);
  }

  ModelParts lm(uint32_t format) {
    uint32_t unit = tiny() ? random_.in(1, 8)  // every chunk divides it
                           : random_.pick({1u, 2u, 3u, 4u, 8u, 12u, 16u, 16u, 60u, 64u, 100u, 256u});
    if (far()) unit = random_.pick({500u, 1000u, 1023u, 1024u});
    if (beyond()) unit = random_.pick({1024u, 1025u, 1100u, 2048u, 5000u, 65536u});
    const uint32_t most_block = tiny() ? 24 : random_.chance(20) ? 700 : 300;
    const uint32_t block = unit * random_.in(1, std::max(most_block / unit, 1u));
    const uint32_t memory = unit * ((memory_tokens() + unit - 1) / unit);
    const bool large = memory > 512;
    uint32_t d = large && !extreme() ? random_.in(1, random_.chance(80) ? 10 : 40) : width();
    if (random_.chance(80)) d += d % 2;  // odd widths have no summaries
    ModelParts model = text_model(d, [&](Blocks* blocks) {
      for (uint32_t n = large ? 1 : random_.in(1, 3); n > 0; --n) {
        const Residual residual = random_.pick({Residual::kPreNorm, Residual::kNormed, Residual::kPostNorm});
        const auto mixer = causal(d, unit, block, memory);
        add(blocks, parts_.block(d, hidden(d), residual, fb::Mixer::CausalLongShort, mixer.Union()));
        if (format == 2 && random_.chance(30)) add(blocks, scan_block(d));
      }
    });
    model.stream = fb::CreateStream(parts_.fb(), block, memory);
    return model;
  }

  template <typename MakeBlocks>
  ModelParts text_model(uint32_t d, const MakeBlocks& make_blocks) {
    ModelParts model;
    const uint32_t vocabulary = far() ? random_.in(1000, 20000) : random_.in(1, tiny() ? 12 : 40);
    model.width = d;
    const DataType embedding_type = parts_.type();
    const auto embedding = parts_.weights("embedding", {vocabulary, d}, embedding_type, std::sqrt(float(d)));
    const auto stem = fb::CreateTokenStem(parts_.fb(), embedding, random_.uniform(0.5f, 2));
    Blocks blocks;
    make_blocks(&blocks);
    model.stages = stages({fb::CreateStageDirect(parts_.fb(), fb::Stem::TokenStem, stem.Union(), &blocks)});
    const auto head_norm = random_.chance(30) ? parts_.norm("head norm", d) : 0;
    const auto projection = random_.chance(50) ? fb::CreateLinear(parts_.fb(), embedding)
                                               : parts_.linear("projection", vocabulary, d);
    model.head_type = fb::Head::TokenHead;
    model.head = fb::CreateTokenHead(parts_.fb(), head_norm, projection).Union();
    std::vector<flatbuffers::Offset<fb::Token>> tokens;
    for (uint32_t i = 0; i < vocabulary; ++i) {
      const std::vector<uint8_t> text(random_.in(0, 3), static_cast<uint8_t>('a' + i % 26));
      tokens.push_back(fb::CreateTokenDirect(parts_.fb(), &text));
    }
    model.vocabulary = fb::CreateVocabularyDirect(parts_.fb(), &tokens);
    return model;
  }

  flatbuffers::Offset<fb::CausalLongShort> causal(uint32_t d, uint32_t unit, uint32_t block,
                                                  uint32_t memory) {
    const bool one = !tiny() && memory > 512 && d <= kMaxHeadDim && random_.chance(70);
    const uint32_t head_count = one ? 1 : heads(d), head_dim = d / head_count;
    const uint32_t chunk = beyond() ? unit : random_.divisor(unit, kMaxChunk);
    uint32_t ranks = d % 2 ? 0 : rank(head_count);
    const uint32_t chunks = (memory + block) / chunk;
    const uint32_t most = (extreme() ? 1000000 : tiny() ? 2000 : 50000) / d;  // rows of a position table
    ranks = std::min(ranks, most / chunks);
    uint32_t window =
        random_.chance(40) ? memory : random_.in(1, random_.chance(50) ? memory : std::min(memory, 20u));
    if (ranks && random_.chance(10)) window = 0;
    window = std::min({window, 1u << 16, std::max(1000000 / d, 1u)});
    const DataType type = parts_.type();
    const auto qkv = parts_.qkv(d, head_count, ranks, type);
    const auto out = parts_.linear("out", d, d);
    const auto content = parts_.floats("content_bias", {head_count, head_dim}, 0.2f);
    const auto position = parts_.floats("position_bias", {head_count, head_dim}, 0.2f);
    const auto norm_window = parts_.norm("norm_window", d);
    flatbuffers::Offset<fb::Norm> norm_summary;
    flatbuffers::Offset<fb::Tensor> window_positions, chunk_positions;
    flatbuffers::Offset<fb::Linear> projection;
    const auto table = [&](const char* name, uint32_t rows) {
      const float size = std::sqrt(static_cast<float>(head_dim));
      return parts_.weights(name, {head_count, rows, head_dim}, type, size);
    };
    if (window) window_positions = table("window_positions", window);
    if (ranks) {
      norm_summary = parts_.norm("norm_summary", d);
      chunk_positions = table("chunk_positions", chunks * ranks);
      projection = parts_.linear("chunk_position_projection", d, d);
    }
    const int32_t clamp = static_cast<int32_t>(random_.in(0, 30)) - 10;
    return fb::CreateCausalLongShort(parts_.fb(), head_count, window, chunk, ranks, -1, clamp, qkv, out,
                                     content, position, norm_window, norm_summary, window_positions,
                                     chunk_positions, projection);
  }

  // ---- encoders

  ModelParts encoder() {
    ModelParts model;
    const uint32_t d = width(), vocabulary = random_.in(1, 60);
    uint32_t length = tiny()               ? random_.in(1, 24)
                      : random_.chance(80) ? random_.in(1, 150)
                                           : random_.in(151, 1500);
    if (far()) length = random_.in(10000, 40000);
    if (beyond()) length = random_.in(1000, 70000);
    const bool cls = random_.chance(60);
    const DataType embedding_type = parts_.type();
    const auto embedding = parts_.weights("embedding", {vocabulary, d}, embedding_type, std::sqrt(float(d)));
    flatbuffers::Offset<fb::Tensor> positions;
    if (random_.chance(80)) positions = parts_.floats("positions", {length + random_.in(0, 2), d}, 1);
    const float scale = random_.chance(70) ? 1 : random_.uniform(0.5f, 2);
    const auto stem = fb::CreateTokenStem(parts_.fb(), embedding, scale, positions);
    Blocks blocks;
    for (uint32_t n = random_.in(1, 3); n > 0; --n) {
      const bool full = length <= 1500 && random_.chance(30);
      const auto kind = full ? fb::Mixer::FullAttention : fb::Mixer::EncoderLongShort;
      const auto mixer = full ? parts_.full_attention(d, heads(d), 0, false).Union() : sequence(d).Union();
      add(&blocks, parts_.block(d, hidden(d), Residual::kPreNorm, kind, mixer));
    }
    const auto count = static_cast<uint32_t>(blocks.size());
    model.width = d;
    model.stages = stages({fb::CreateStageDirect(parts_.fb(), fb::Stem::TokenStem, stem.Union(), &blocks)});
    const Pool pool = cls && random_.chance(70) ? Pool::kCls : random_.pick({Pool::kMean, Pool::kMeanPadded});
    const bool pair = random_.chance(30);
    model.head_type = fb::Head::ClassifierHead;
    const uint32_t head_hidden = hidden(d), class_count = classes();
    model.head = parts_.classifier_head(d, head_hidden, class_count, pool, pair).Union();
    flatbuffers::Offset<fb::Tensor> cls_token;
    if (cls) cls_token = parts_.floats("cls_token", {d}, 1);
    model.sequence =
        fb::CreateSequenceInput(parts_.fb(), length, 1, cls_token, cls ? random_.in(0, count - 1) : 0);
    return model;
  }

  flatbuffers::Offset<fb::EncoderLongShort> sequence(uint32_t d) {
    const uint32_t head_count = heads(d), ranks = rank(head_count);
    uint32_t window = random_.chance(20) ? 0 : random_.in(1, tiny() ? 12 : random_.chance(80) ? 40 : 700);
    if (far()) window = random_.in(10000, 65536);
    if (beyond()) window = random_.in(60000, 70000);
    const DataType type = parts_.type();
    const auto qkv = parts_.qkv(d, head_count, ranks, type);
    const auto out = parts_.linear("out", d, d);
    const auto norm_window = parts_.norm("norm_window", d), norm_summary = parts_.norm("norm_summary", d);
    flatbuffers::Offset<fb::Tensor> convolution;
    if (random_.chance(40)) {
      uint32_t kernel = random_.in(1, tiny() || random_.chance(80) ? 9 : 200);
      if (far()) kernel = random_.in(1000, 65536);
      if (beyond()) kernel = random_.in(60000, 70000);
      convolution = parts_.floats("convolution", {head_count, kernel}, 1 / std::sqrt(float(kernel)));
    }
    return fb::CreateEncoderLongShort(parts_.fb(), head_count, window, ranks, qkv, out, norm_window,
                                      norm_summary, convolution);
  }

  // ---- vision models

  ModelParts vil() {
    ModelParts model;
    const uint32_t count = random_.in(1, 3);
    uint32_t grids[3], patches[3], side = tiny() ? random_.in(1, 5) : random_.in(1, count == 1 ? 20 : 9);
    if (far()) side = random_.in(40, 80);
    for (uint32_t i = count; i-- > 0;) {
      grids[i] = side;
      patches[i] = i == 0 ? random_.in(1, 4) : random_.pick({1u, 1u, 2u, 2u, 3u});
      if (i == 0 && far()) patches[i] = random_.in(20, 147);
      if (beyond()) patches[i] = random_.in(100, 300);
      if (side * patches[i] > (extents_ == Extents::kTiny ? 12u : extreme() || tiny() ? 400u : 32u))
        patches[i] = 1;
      side *= patches[i];
    }
    Stages list;
    uint32_t channels = 3, d = 0;
    uint32_t cls = 0;
    for (uint32_t i = 0; i < count; ++i) {
      const auto depth = static_cast<uint32_t>(kMaxGemmDepth);
      const uint32_t widest = i + 1 < count ? depth / (patches[i + 1] * patches[i + 1]) : depth;
      d = std::min(tiny() ? random_.in(1, 16) : width(), widest);
      cls = random_.chance(60) ? random_.pick({1u, 1u, 1u, 1u, 2u, 5u}) : 0;
      if (beyond()) cls = random_.in(kMaxClsRows - 1, kMaxClsRows + 1);
      list.push_back(stage(channels, d, grids[i], patches[i], cls));
      channels = d;
      if (i == 0) model.width = d;
    }
    model.stages = stages(list);
    const Pool pool = cls && random_.chance(70) ? Pool::kCls : Pool::kMean;
    const uint32_t head_hidden = hidden(d), class_count = classes();
    model.head_type = fb::Head::ClassifierHead;
    model.head = parts_.classifier_head(d, head_hidden, class_count, pool, false).Union();
    const bool labels = random_.chance(50);
    for (uint32_t i = 0; labels && i < class_count; ++i) model.labels.push_back("label " + std::to_string(i));
    const std::vector<float> mean = {0.4f, 0.5f, 0.6f}, deviation = {0.2f, 0.3f, 0.25f};
    model.image =
        fb::CreateImageInputDirect(parts_.fb(), side, side + random_.in(0, side), &mean, &deviation);
    return model;
  }

  flatbuffers::Offset<fb::Stage> stage(uint32_t channels, uint32_t d, uint32_t grid, uint32_t patch,
                                       uint32_t cls) {
    const auto projection = parts_.linear("projection", d, channels * patch * patch);
    const auto norm = parts_.maybe_norm("norm", d);
    flatbuffers::Offset<fb::Tensor> cls_tokens, positions;
    if (cls) cls_tokens = parts_.floats("cls_tokens", {cls, d}, 1);
    if (random_.chance(50)) positions = parts_.floats("positions", {cls + grid * grid, d}, 1);
    const auto stem =
        fb::CreatePatchStem(parts_.fb(), patch, grid, channels, projection, norm, cls_tokens, positions);
    Blocks blocks;
    for (uint32_t n = random_.in(1, 2); n > 0; --n) {
      auto kind =
          random_.pick({fb::Mixer::FullAttention, fb::Mixer::VisionLongShort, fb::Mixer::VisionWindow});
      if (cls > 1) kind = fb::Mixer::VisionWindow;
      if (cls == 0 && random_.chance(40)) kind = fb::Mixer::GlobalFilter;
      const auto mixer = kind == fb::Mixer::FullAttention
                             ? parts_.full_attention(d, heads(d), grid, cls > 0).Union()
                         : kind == fb::Mixer::VisionLongShort ? image(d, grid).Union()
                         : kind == fb::Mixer::GlobalFilter    ? parts_.global_filter(d, grid).Union()
                                                              : window(d, grid, cls).Union();
      const bool single = kind == fb::Mixer::GlobalFilter;
      add(&blocks, parts_.block(d, hidden(d), single ? Residual::kSingle : Residual::kPreNorm, kind, mixer));
    }
    return fb::CreateStageDirect(parts_.fb(), fb::Stem::PatchStem, stem.Union(), &blocks);
  }

  flatbuffers::Offset<fb::VisionWindow> window(uint32_t d, uint32_t grid, uint32_t cls) {
    const auto edge = random_.pick({fb::WindowEdge::cut, fb::WindowEdge::exact, fb::WindowEdge::torus});
    const uint32_t side = random_.in(1, std::min(grid + 2, 30u));
    const uint32_t margin = random_.pick({side, side, 0u, random_.in(0, side)});
    return parts_.vision_window(d, heads(d), side, margin, edge, cls);
  }

  flatbuffers::Offset<fb::VisionLongShort> image(uint32_t d, uint32_t grid) {
    const uint32_t head_count = heads(d), ranks = rank(head_count);
    const uint32_t window = random_.in(1, grid + 2);
    const DataType type = parts_.type();
    const auto qkv = parts_.qkv(d, head_count, ranks, type);
    const auto out = parts_.linear("out", d, d);
    const auto norm_window = parts_.norm("norm_window", d);
    const auto norm_summary = ranks ? parts_.norm("norm_summary", d) : 0;
    flatbuffers::Offset<fb::Tensor> relative;
    if (random_.chance(60)) {
      const uint32_t side = 2 * (window - 1 + std::max(window / 2, 1u)) + 1;
      relative = parts_.floats("relative_bias", {side * side, head_count}, 0.5f);
    }
    return fb::CreateVisionLongShort(parts_.fb(), head_count, window, ranks, qkv, out, norm_window,
                                     norm_summary, relative);
  }

  // ---- encoders of slides

  ModelParts slide() {
    ModelParts model;
    const uint32_t d = std::max(width() / 2 * 2, 2u), features = random_.in(1, tiny() ? 12 : 40);
    uint32_t cells = random_.in(1, tiny() ? 20 : 1000), tile = random_.pick({1u, 7u, 256u, 1000u});
    if (far()) tile = kMaxTilePixels;
    if (beyond()) tile = random_.pick({0u, kMaxTilePixels, kMaxTilePixels + 1});
    if (far()) cells = std::min(100000u, 1000000 / d);
    const auto projection = parts_.linear("projection", d, features);
    const auto cls_token = parts_.floats("cls_token", {d}, 1);
    const auto positions = parts_.floats("positions", {cells, d / 2}, 1);
    const auto stem = fb::CreateTileStem(parts_.fb(), tile, projection, cls_token, positions);
    Blocks blocks;
    for (uint32_t n = random_.in(1, 3); n > 0; --n) {
      std::vector<uint32_t> segments, ratios;
      dilations(&segments, &ratios);
      const auto mixer = parts_.dilated_attention(d, heads(d), segments, ratios);
      add(&blocks, parts_.dilated_block(d, hidden(d), mixer));
    }
    model.width = d;
    model.stages = stages({fb::CreateStageDirect(parts_.fb(), fb::Stem::TileStem, stem.Union(), &blocks)});
    const auto head_norm = parts_.maybe_norm("head norm", d);
    const auto output_norm = parts_.maybe_norm("output_norm", d);
    const auto pool = random_.pick({fb::Pool::cls, fb::Pool::mean});
    model.head_type = fb::Head::EmbeddingHead;
    model.head = fb::CreateEmbeddingHead(parts_.fb(), head_norm, pool, output_norm).Union();
    return model;
  }

  // One of the ratios is 1; the others are any, also such that divide neither segments nor heads.
  void dilations(std::vector<uint32_t>* segments, std::vector<uint32_t>* ratios) {
    uint32_t count = random_.in(1, tiny() || random_.chance(80) ? 4 : kMaxDilations);
    if (beyond()) count = random_.in(kMaxDilations, kMaxDilations + 1);
    for (uint32_t i = 0; i < count; ++i) {
      uint32_t segment = random_.in(1, tiny() ? 20 : random_.chance(70) ? 100 : 1000);
      uint32_t ratio = random_.pick({1u, 2u, 2u, 3u, 4u, 8u, random_.in(1, 40)});
      if (far() || beyond()) segment = random_.in(1, 3) * (kMaxStreamTokens / (beyond() ? 2 : 4));
      if (far() || beyond()) ratio = random_.pick({1000u, kMaxWidth, kMaxWidth + (beyond() ? 1 : 0)});
      segments->push_back(segment), ratios->push_back(ratio);
    }
    (*ratios)[random_.in(0, count - 1)] = 1;
  }

  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<fb::Stage>>> stages(const Stages& list) {
    return parts_.fb().CreateVector(list);
  }

  ModelWriter& writer_;
  Random random_;
  const bool slide_;
  const Extents extents_;
  RandomParts parts_;
};

// A whole model file.
inline ModelBytes random_model(uint64_t seed, Extents extents, Weights weights) {
  const auto describe = [&](ModelWriter& writer) {
    return RandomModel(writer, seed, extents, weights).describe();
  };
  ModelBytes bytes;
  bytes.reserve(ModelWriter::file_bytes(describe));
  const auto sink = [&](const void* data, size_t size) {
    const auto* first = static_cast<const uint8_t*>(data);
    bytes.insert(bytes.end(), first, first + size);
    return Status();
  };
  const auto quiet = [](size_t, size_t, const std::string&) { return Status(); };
  const Status status = ModelWriter::write(describe, sink, quiet);
  return status.ok() ? bytes : ModelBytes();
}

}  // namespace lsrt_test
