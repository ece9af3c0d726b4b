#include "converter/families/names_encoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "converter/families/mixture.h"
#include "runtime/model/reader.h"

namespace lsrt {
namespace {

using flatbuffers::Offset;

constexpr char kWords[] = "model.embeddings.word_embeddings.weight";
constexpr char kPositions[] = "model.embeddings.position_embeddings.weight";
constexpr char kHead[] = "seq_classifer.mlpblock.";  // spelled so by the authors
constexpr float kEps = 1e-5f;
constexpr uint32_t kGoldenTokens = 64;

std::string layer_name(const EncoderParameters& p, uint32_t layer) {
  return p.tied ? "model.transformer." : "model.transformer_" + std::to_string(layer) + ".";
}

bool is_full(const EncoderParameters& p, uint32_t layer) { return !p.full.empty() && p.full[layer]; }

// The first layer with landmarks, whose shapes tell about them; p.layers: none.
uint32_t first_long_short(const EncoderParameters& p) {
  uint32_t layer = 0;
  while (layer < p.layers && is_full(p, layer)) layer++;
  return layer;
}

// Query (scaled), key and value, and the landmark weights where there are any.
Offset<fb::Linear> qkv(ModelBuilder& b, const EncoderParameters& p, const std::string& name, uint32_t rank) {
  std::vector<ModelBuilder::Rows> rows = {ModelBuilder::queries(name + "W_q", {p.d, p.d}, true, p.d, p.heads),
                                          {name + "W_k", {p.d, p.d}},
                                          {name + "W_v", {p.d, p.d}}};
  if (rank > 0) {
    rows.push_back({name + "dconv_fc", {p.heads * rank, p.d}});
  } else {
    b.ignore(name, {"dconv_fc"});
  }
  return b.linear(name + (rank > 0 ? "{W_q,W_k,W_v,dconv_fc}" : "{W_q,W_k,W_v}"), rows);
}

Offset<fb::EncoderLongShort> long_short(ModelBuilder& b, const EncoderParameters& p,
                                        const std::string& name) {
  const auto projection = qkv(b, p, name, p.rank);
  const auto out = b.linear(name + "W_o", p.d, p.d);
  const auto norm_window = b.norm(name + "dual_ln_l", p.d, kEps);
  const auto norm_summary = b.norm(name + "dual_ln_s", p.d, kEps);
  Offset<fb::Tensor> convolution;
  if (p.kernel > 0) convolution = b.floats(name + "conv.weight", {p.heads, p.kernel});
  return fb::CreateEncoderLongShort(b.fb(), p.heads, p.window, p.rank, projection, out, norm_window,
                                    norm_summary, convolution);
}

Offset<fb::FullAttention> full_attention(ModelBuilder& b, const EncoderParameters& p,
                                         const std::string& name) {
  b.ignore(name, {"dual_ln_s", "conv"});  // as its layer has neither summaries nor a convolution
  const auto projection = qkv(b, p, name, 0);
  const auto out = b.linear(name + "W_o", p.d, p.d);
  return fb::CreateFullAttention(b.fb(), p.heads, projection, out, b.norm(name + "dual_ln_l", p.d, kEps));
}

Offset<fb::Block> block(ModelBuilder& b, const EncoderParameters& p, uint32_t layer) {
  const std::string name = layer_name(p, layer);
  const ModelBuilder::BlockParts parts{
      name + "norm1", name + "norm2", name + "mlpblock.0", name + "mlpblock.3", p.d, p.hidden, kEps};
  return b.block(parts, [&]() -> ModelBuilder::MixerTable {
    if (is_full(p, layer)) return {fb::Mixer::FullAttention, full_attention(b, p, name + "mha.").Union()};
    return {fb::Mixer::EncoderLongShort, long_short(b, p, name + "mha.").Union()};
  });
}

ModelParts describe(ModelBuilder& b, const EncoderParameters& p) {
  ModelParts parts;
  parts.width = p.d;
  const auto embedding = b.weights(kWords, {p.vocabulary, p.d});
  const auto positions = b.floats(kPositions, {p.max_length, p.d});
  const auto stem = fb::CreateTokenStem(b.fb(), embedding, 1, positions);
  std::vector<Offset<fb::Block>> blocks;
  for (uint32_t i = 0; i < p.layers; i++) {
    // Tied layers are the same table: the file holds their weights once.
    blocks.push_back(p.tied && i > 0 ? blocks[0] : block(b, p, i));
  }
  const auto stage = fb::CreateStageDirect(b.fb(), fb::Stem::TokenStem, stem.Union(), &blocks);
  parts.stages = b.fb().CreateVector(&stage, 1);

  const auto norm = b.norm("model.norm", p.d, kEps);
  const std::string head = kHead;
  std::vector<Offset<fb::Linear>> layers = {
      b.linear(head + "0", p.classifier_hidden, p.pair ? 4 * p.d : p.d)};
  layers.push_back(b.linear(head + "2", p.classes, p.classifier_hidden));
  parts.head_type = fb::Head::ClassifierHead;
  parts.head = fb::CreateClassifierHeadDirect(b.fb(), norm, p.cls ? fb::Pool::cls : fb::Pool::mean_padded,
                                              p.pair, &layers)
                   .Union();
  Offset<fb::Tensor> cls_token;
  if (p.cls) cls_token = b.floats("model.cls_embed", {p.d});
  parts.sequence = fb::CreateSequenceInput(b.fb(), p.max_length, p.byte_offset, cls_token,
                                           p.cls_last_layer ? p.layers - 1 : 0);
  parts.labels = p.labels;
  return parts;
}

Array int_array(const std::string& name, const std::vector<int32_t>& values) {
  Array array{name, DataType::kInt32, {1, static_cast<uint32_t>(values.size())}, {}};
  array.bytes.resize(values.size() * sizeof(int32_t));
  std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
  return array;
}

// Tokens from all over the vocabulary; the last eighth is padding, so that masks are part of the check.
std::vector<Array> golden_inputs(const EncoderParameters& p) {
  const uint32_t n = std::min(p.max_length, kGoldenTokens), real = n - n / 8;
  std::vector<Array> inputs;
  uint32_t state = 1;
  for (int document = 0; document < (p.pair ? 2 : 1); document++) {
    std::vector<int32_t> tokens(n), mask(n);
    for (uint32_t i = 0; i < real; i++) {
      state = state * 1664525 + 1013904223;
      tokens[i] = static_cast<int32_t>((state >> 8) % p.vocabulary);
      mask[i] = 1;
    }
    inputs.push_back(int_array("tokens_" + std::to_string(document), tokens));
    inputs.push_back(int_array("mask_" + std::to_string(document), mask));
  }
  return inputs;
}

// What shapes tell.
EncoderParameters from_shapes(const WeightSource& source) {
  EncoderParameters p;
  p.tied = source.find("model.transformer.mha.W_q.weight") != nullptr;
  while (!p.tied && source.find(layer_name(p, p.layers) + "mha.W_q.weight") != nullptr) p.layers++;
  const std::string layer = layer_name(p, 0), head = kHead;
  p.vocabulary = source.extent(kWords, 0);
  p.d = source.extent(kWords, 1);
  p.max_length = source.extent(kPositions, 0);
  p.hidden = source.extent(layer + "mlpblock.0.weight", 0);
  p.classifier_hidden = source.extent(head + "0.weight", 0);
  p.classes = source.extent(head + "2.weight", 0);
  p.pair = source.extent(head + "0.weight", 1) == uint64_t{4} * p.d;
  p.cls = source.find("model.cls_embed") != nullptr;
  return p;
}

// What shapes do not tell, and a check that a configuration which also names the rest means this checkpoint.
Status add_config(const Config& config, const WeightSource& source, EncoderParameters* p) {
  LSRT_ASSIGN(const std::string attention, config.text("attn_type", "lsta"));
  if (attention != "lsta") {
    return fail(Error::kUnsupported, "%s: attention of type \"%s\" is not known, only \"lsta\"",
                source.checkpoint->path().c_str(), attention.c_str());
  }
  LSRT_ASSIGN(const std::string pooling, config.text("pooling_mode", "MEAN"));
  if (pooling != "MEAN" && !p->cls) {
    return fail(Error::kUnsupported, "%s: pooling of mode \"%s\" is not known, only \"MEAN\"",
                source.checkpoint->path().c_str(), pooling.c_str());
  }
  if (p->tied) {
    LSRT_ASSIGN(p->layers, config.count("num_layers", 1, kMaxBlocks));
  }
  LSRT_ASSIGN(p->full, full_layers(config, p->layers));
  const std::string layer = layer_name(*p, first_long_short(*p));
  if (p->tied && std::count(p->full.begin(), p->full.end(), true) > 0) {
    return fail(Error::kUnsupported, "%s: layers that share their weights cannot be a mixture",
                source.checkpoint->path().c_str());
  }
  p->kernel = source.extent(layer + "mha.conv.weight", 2);
  LSRT_ASSIGN(const uint32_t head_dim, config.count("head_dim", 0, kMaxWidth, 0));
  if (p->kernel > 0) {
    p->heads = source.extent(layer + "mha.conv.weight", 0);  // one kernel a head
  } else if (config.has("num_head") || head_dim == 0) {
    LSRT_ASSIGN(p->heads, config.count("num_head", 1, kMaxWidth));
  } else {
    p->heads = p->d / head_dim;
  }
  LSRT_ASSIGN(p->window, config.count("window_size", 0, kMaxWindow));
  LSRT_ASSIGN(p->cls_last_layer, config.boolean("cls_last_layer", p->cls));
  LSRT_ASSIGN(const bool cls_token, config.boolean("cls_token", p->cls && !p->cls_last_layer));
  if (p->cls != (p->cls_last_layer || cls_token)) {
    return fail(Error::kCheckpoint, "%s: cls_token and cls_last_layer are %s, but model.cls_embed is %s",
                source.checkpoint->path().c_str(), p->cls ? "false" : "true", p->cls ? "there" : "missing");
  }
  LSRT_ASSIGN(p->byte_offset, config.integer("byte_offset", 1));

  const struct {
    const char* name;
    uint32_t found;
  } counted[] = {{"num_layers", p->layers},     {"transformer_dim", p->d},
                 {"embedding_dim", p->d},       {"transformer_hidden_dim", p->hidden},
                 {"vocab_size", p->vocabulary}, {"max_seq_len", p->max_length},
                 {"num_classes", p->classes},   {"num_head", p->heads}};
  for (const auto& item : counted) {
    LSRT_ASSIGN(const uint32_t value, config.count(item.name, 0, UINT32_MAX, item.found));
    if (value != item.found) {
      return fail(Error::kCheckpoint, "%s: hyper-parameter %s is %u, but the tensors have %u",
                  source.checkpoint->path().c_str(), item.name, value, item.found);
    }
  }
  return {};
}

Status check(const EncoderParameters& p, const std::string& path) {
  if (p.vocabulary == 0 || p.d == 0 || p.max_length == 0 || p.hidden == 0 || p.classifier_hidden == 0 ||
      p.classes == 0 || p.layers == 0 || p.layers > kMaxBlocks) {
    return fail(Error::kCheckpoint,
                "%s: incomplete: width %u, positions %u, hidden %u, classes %u, layers %u; a tensor of these "
                "is missing",
                path.c_str(), p.d, p.max_length, p.hidden, p.classes, p.layers);
  }
  if (p.heads == 0 || p.d % p.heads != 0) {
    return fail(Error::kCheckpoint, "%s: the width %u is no multiple of %u heads", path.c_str(), p.d,
                p.heads);
  }
  if (!p.labels.empty() && p.labels.size() != p.classes) {
    return fail(Error::kArgument, "%s: %zu labels were given, but the model has %u classes", path.c_str(),
                p.labels.size(), p.classes);
  }
  return {};
}

std::string architecture(const EncoderParameters& p) {
  char text[320];
  std::snprintf(
      text, sizeof text,
      "long-short encoder: %u %slayers, d %u, %u heads, hidden %u, window %u, rank %u, kernel %u, %s%s, "
      "length %u, %u tokens, %u classes",
      p.layers, p.tied ? "tied " : "", p.d, p.heads, p.hidden, p.window, p.rank, p.kernel,
      p.cls ? (p.cls_last_layer ? "cls row in the last layer" : "cls row") : "mean pooling",
      p.pair ? ", pairs" : "", p.max_length, p.vocabulary, p.classes);
  return text + mixture_text(p.full);
}

}  // namespace

bool is_encoder(const TensorSource& source, std::string* prefix) {
  return find_prefix(source, kWords,
                     {"model.transformer.mha.W_q.weight", "model.transformer_0.mha.W_q.weight"}, prefix);
}

ModelPlan plan_encoder(const EncoderParameters& parameters, const WeightSource& source) {
  ModelPlan plan;
  plan.family = Family::kEncoder;
  plan.architecture = architecture(parameters);
  plan.source = source;
  plan.describe = [parameters](ModelBuilder& builder) { return describe(builder, parameters); };
  plan.golden_inputs = [parameters] { return golden_inputs(parameters); };
  return plan;
}

Result<ModelPlan> plan_encoder(const TensorSource& checkpoint, const std::string& prefix,
                               const FamilyOptions& options) {
  const WeightSource source{&checkpoint, prefix};
  Config config = options.config;
  if (checkpoint.metadata().contains("config")) {
    config.add(checkpoint.metadata()["config"], "config of " + checkpoint.path());
  }
  config.add(checkpoint.metadata(), checkpoint.path());
  EncoderParameters parameters = from_shapes(source);
  LSRT_TRY(add_config(config, source, &parameters));
  LSRT_TRY(check(parameters, checkpoint.path()));
  const std::string layer = layer_name(parameters, first_long_short(parameters));
  parameters.rank = source.extent(layer + "mha.dconv_fc.weight", 0) / parameters.heads;
  parameters.labels = options.labels;
  if (parameters.labels.empty()) {
    LSRT_ASSIGN(parameters.labels, config.texts("classes"));
  }
  LSRT_TRY(check(parameters, checkpoint.path()));
  return plan_encoder(parameters, source);
}

}  // namespace lsrt
