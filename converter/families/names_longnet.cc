#include "converter/families/names_longnet.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "converter/families/positions.h"
#include "runtime/model/limits.h"

namespace lsrt {
namespace {

using flatbuffers::Offset;

constexpr char kProjection[] = "patch_embed.proj";
constexpr float kEps = 1e-5f, kOutputEps = 1e-6f;
constexpr uint32_t kGoldenTiles = 96;

std::string layer_name(uint32_t layer) { return "encoder.layers." + std::to_string(layer) + "."; }

// Row c is [sin c f, cos c f], f_k = 10000^(-k / (d / 4)) for k < d / 4.
std::vector<float> make_places(uint32_t cells, uint32_t d) {
  const std::vector<double> frequencies = sinusoid_frequencies(d / 2);
  std::vector<float> places;
  for (uint32_t cell = 0; cell < cells; cell++) {
    for (double f : frequencies) places.push_back(static_cast<float>(std::sin(cell * f)));
    for (double f : frequencies) places.push_back(static_cast<float>(std::cos(cell * f)));
  }
  return places;
}

Offset<fb::Block> block(ModelBuilder& b, const LongnetParameters& p, uint32_t layer) {
  const std::string name = layer_name(layer), attention = name + "self_attn.";
  ModelBuilder::BlockParts parts{name + "self_attn_layer_norm",
                                 name + "final_layer_norm",
                                 name + "ffn.fc1",
                                 name + "ffn.fc2",
                                 p.d,
                                 p.hidden,
                                 kEps};
  parts.norm_mixed = attention + "inner_attn_ln";
  parts.norm_hidden = name + "ffn.ffn_layernorm";
  return b.block(parts, [&]() -> ModelBuilder::MixerTable {
    const auto qkv = b.linear(attention + "{q_proj,k_proj,v_proj}",
                              {ModelBuilder::queries(attention + "q_proj", {p.d, p.d}, true, p.d, p.heads),
                               {attention + "k_proj", {p.d, p.d}},
                               {attention + "v_proj", {p.d, p.d}}});
    const auto out = b.linear(attention + "out_proj", p.d, p.d);
    const auto mixer = fb::CreateDilatedAttentionDirect(b.fb(), p.heads, &p.segments, &p.ratios, qkv, out);
    return {fb::Mixer::DilatedAttention, mixer.Union()};
  });
}

ModelParts describe(ModelBuilder& b, const LongnetParameters& p) {
  ModelParts parts;
  parts.width = p.d;
  const auto projection = b.linear(kProjection, p.d, p.features);
  const auto cls_token = b.floats("cls_token", {p.d});
  const auto places =
      b.made("places", {p.cells, p.d / 2},
             [cells = p.cells, d = p.d]() -> Result<std::vector<float>> { return make_places(cells, d); });
  const auto stem = fb::CreateTileStem(b.fb(), p.tile, projection, cls_token, places);
  std::vector<Offset<fb::Block>> blocks;
  for (uint32_t i = 0; i < p.layers; i++) blocks.push_back(block(b, p, i));
  const auto stage = fb::CreateStageDirect(b.fb(), fb::Stem::TileStem, stem.Union(), &blocks);
  parts.stages = b.fb().CreateVector(&stage, 1);
  const auto norm = b.norm("encoder.layer_norm", p.d, kEps);
  const auto output_norm = b.norm("norm", p.d, kOutputEps);
  parts.head_type = fb::Head::EmbeddingHead;
  parts.head =
      fb::CreateEmbeddingHead(b.fb(), norm, p.mean ? fb::Pool::mean : fb::Pool::cls, output_norm).Union();
  return parts;
}

Array float_array(const std::string& name, const std::vector<uint32_t>& shape,
                  const std::vector<float>& values) {
  Array array = make_array(name, DataType::kFloat32, shape);
  std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
  return array;
}

// Tiles from all over the slide.
std::vector<Array> golden_inputs(const LongnetParameters& p) {
  uint32_t state = 1;
  const auto random = [&] { return (state = state * 1664525 + 1013904223) >> 8; };  // 24 bits
  std::vector<float> tiles(size_t{kGoldenTiles} * p.features), coords(2 * kGoldenTiles);
  for (float& feature : tiles) feature = static_cast<float>(random()) / (1 << 22) - 2;
  for (float& coord : coords) coord = static_cast<float>(uint64_t{random() % p.cells} * p.tile);
  return {float_array("tiles", {1, kGoldenTiles, p.features}, tiles),
          float_array("coords", {1, kGoldenTiles, 2}, coords)};
}

std::string list_text(const std::vector<uint32_t>& list) {
  std::string text;
  for (uint32_t value : list) text += (text.empty() ? "" : ",") + std::to_string(value);
  return text;
}

std::string architecture(const LongnetParameters& p) {
  return "LongNet encoder of slides: " + std::to_string(p.layers) + " layers, d " + std::to_string(p.d) +
         ", " + std::to_string(p.heads) + " heads, hidden " + std::to_string(p.hidden) + ", segments " +
         list_text(p.segments) + ", ratios " + list_text(p.ratios) + ", tiles of " +
         std::to_string(p.features) + " features, " + (p.mean ? "mean" : "cls row");
}

Status add_config(const Config& config, LongnetParameters* p) {
  LSRT_ASSIGN(p->heads, config.count("heads", 1, kMaxWidth, p->heads));
  LSRT_ASSIGN(const std::vector<uint32_t> segments, config.counts("segments", 1, kMaxStreamTokens));
  LSRT_ASSIGN(const std::vector<uint32_t> ratios, config.counts("ratios", 1, kMaxWidth));
  if (!segments.empty()) p->segments = segments;
  if (!ratios.empty()) p->ratios = ratios;
  LSRT_ASSIGN(p->tile, config.count("tile_size", 1, kMaxTilePixels, p->tile));
  LSRT_ASSIGN(p->cells, config.count("slide_ngrids", 1, kMaxCells, p->cells));
  LSRT_ASSIGN(p->mean, config.boolean("global_pool", p->mean));
  return {};
}

// Relations that no single tensor shows.
Status check(const LongnetParameters& p, const Config& config, const TensorSource& checkpoint) {
  const char* path = checkpoint.path().c_str();
  if (p.layers == 0 || p.d == 0 || p.d % 4 != 0 || p.features == 0 || p.hidden == 0 ||
      p.layers > kMaxBlocks) {
    return fail(Error::kCheckpoint,
                "%s: width %u (a multiple of 4), hidden %u, features %u, layers %u do not make an encoder",
                path, p.d, p.hidden, p.features, p.layers);
  }
  if (p.d % p.heads != 0) {
    return fail(Error::kCheckpoint, "%s: the width %u is no multiple of %u heads; --config has heads", path,
                p.d, p.heads);
  }
  LSRT_ASSIGN(const uint32_t layers, config.count("layers", 0, UINT32_MAX, p.layers));
  if (layers != p.layers) {
    return fail(Error::kCheckpoint, "%s: hyper-parameter layers is %u, but the tensors have %u", path, layers,
                p.layers);
  }
  if (p.segments.size() != p.ratios.size() || p.segments.size() > kMaxDilations ||
      std::count(p.ratios.begin(), p.ratios.end(), 1u) == 0) {
    return fail(Error::kCheckpoint,
                "%s: segments %s and ratios %s: expected as many of both, at most %u, and one ratio of 1",
                path, list_text(p.segments).c_str(), list_text(p.ratios).c_str(), kMaxDilations);
  }
  uint64_t weights = 0;
  for (const SourceTensor& tensor : checkpoint.tensors()) weights += static_cast<uint64_t>(tensor.count());
  const uint64_t most = (kTableElements + weights) / (p.d / 2);
  if (p.cells > most) {
    return fail(Error::kUnsupported, "%s: slide_ngrids is %u, at most %llu are supported for its weights",
                path, p.cells, static_cast<unsigned long long>(most));
  }
  return {};
}

}  // namespace

bool is_longnet(const TensorSource& source, std::string* prefix) {
  return find_prefix(source, std::string(kProjection) + ".weight",
                     {layer_name(0) + "self_attn.inner_attn_ln.weight"}, prefix);
}

ModelPlan plan_longnet(const LongnetParameters& parameters, const WeightSource& source) {
  ModelPlan plan;
  plan.family = Family::kSlide;
  plan.architecture = architecture(parameters);
  plan.source = source;
  plan.describe = [parameters](ModelBuilder& builder) { return describe(builder, parameters); };
  plan.golden_inputs = [parameters] { return golden_inputs(parameters); };
  return plan;
}

Result<ModelPlan> plan_longnet(const TensorSource& checkpoint, const std::string& prefix,
                               const FamilyOptions& options) {
  const WeightSource source{&checkpoint, prefix};
  Config config = options.config;
  config.add(checkpoint.metadata(), checkpoint.path());
  const std::string projection = std::string(kProjection) + ".weight";
  LongnetParameters p;
  p.d = source.extent(projection, 0);
  p.features = source.extent(projection, 1);
  p.hidden = source.extent(layer_name(0) + "ffn.fc1.weight", 0);
  while (p.layers <= kMaxBlocks && source.find(layer_name(p.layers) + "self_attn.q_proj.weight")) p.layers++;
  LSRT_TRY(add_config(config, &p));
  LSRT_TRY(check(p, config, checkpoint));
  return plan_longnet(p, source);
}

}  // namespace lsrt
