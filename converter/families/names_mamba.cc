#include "converter/families/names_mamba.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "base/exact_math.h"
#include "base/mapped_file.h"
#include "runtime/model/limits.h"

namespace lsrt {
namespace {

using flatbuffers::Offset;

constexpr char kFirstLayer[] = "backbone.layers.0.mixer.A_log";
constexpr char kHead[] = "lm_head.weight";
constexpr uint32_t kGoldenTokens = 96;

std::string layer_name(uint32_t layer) { return "backbone.layers." + std::to_string(layer) + "."; }
const char* embedding_name(bool plural) {
  return plural ? "backbone.embeddings.weight" : "backbone.embedding.weight";
}

// [rows, columns] the other way round, each value changed by f.
template <typename F>
MakeFloats transposed(const WeightSource& source, const std::string& name, uint32_t rows, uint32_t columns,
                      F f) {
  return [=]() -> Result<std::vector<float>> {
    LSRT_ASSIGN(const std::vector<float> values, source.read(name, {rows, columns}));
    std::vector<float> out(values.size());
    for (size_t i = 0; i < out.size(); ++i) out[i] = f(values[i % rows * columns + i / rows]);
    return out;
  };
}

// a = -exp(A_log), [states, channels] or [heads]; of random models the authors' start, -1, -2, ...
Offset<fb::Tensor> decay(ModelBuilder& b, const std::string& name, uint32_t rows, uint32_t columns) {
  const std::vector<uint32_t> shape =
      rows == 1 ? std::vector<uint32_t>{columns} : std::vector<uint32_t>{rows, columns};
  if (b.source().random()) {
    return b.made(name, shape, [=]() -> Result<std::vector<float>> {
      std::vector<float> a(size_t{rows} * columns);
      for (size_t i = 0; i < a.size(); ++i) a[i] = -1 - static_cast<float>(rows == 1 ? i % 16 : i / columns);
      return a;
    });
  }
  b.require(name, {columns, rows});
  const auto negative_exp = [](float x) { return static_cast<float>(-exact_exp(static_cast<double>(x))); };
  return b.made(name, shape, transposed(b.source(), name, columns, rows, negative_exp));
}

struct Convolution {
  Offset<fb::Tensor> weight, bias;
};
Convolution convolution(ModelBuilder& b, const MambaParameters& p, const std::string& name,
                        uint32_t channels) {
  const std::string kernel = name + "conv1d.weight";
  b.require(kernel, {channels, 1, p.taps});
  Convolution result;
  result.weight = b.floats(kernel, {p.taps, channels},
                           transposed(b.source(), kernel, channels, p.taps, [](float x) { return x; }));
  if (b.has(name + "conv1d.bias", true)) result.bias = b.floats(name + "conv1d.bias", {channels});
  return result;
}

ModelBuilder::MixerTable selective_scan(ModelBuilder& b, const MambaParameters& p, const std::string& name) {
  const auto in = b.linear(name + "in_proj", 2 * p.inner, p.d, b.has(name + "in_proj.bias", false));
  const Convolution conv = convolution(b, p, name, p.inner);
  const auto parameters = b.linear(name + "x_proj", p.rank + 2 * p.states, p.inner, false);
  const auto step = b.linear(name + "dt_proj", p.inner, p.rank);
  const auto a = decay(b, name + "A_log", p.states, p.inner);
  const auto d = b.floats(name + "D", {p.inner});
  const auto out = b.linear(name + "out_proj", p.d, p.inner, b.has(name + "out_proj.bias", false));
  const auto table = fb::CreateSelectiveScan(b.fb(), in, conv.weight, conv.bias, parameters, step, a, d, out,
                                             p.parameter_eps);
  return {fb::Mixer::SelectiveScan, table.Union()};
}

ModelBuilder::MixerTable state_space_dual(ModelBuilder& b, const MambaParameters& p,
                                          const std::string& name) {
  const uint32_t convolved = p.inner + 2 * p.groups * p.states;
  const auto in =
      b.linear(name + "in_proj", p.inner + convolved + p.heads, p.d, b.has(name + "in_proj.bias", false));
  const Convolution conv = convolution(b, p, name, convolved);
  const auto step_bias = b.floats(name + "dt_bias", {p.heads});
  const auto a = decay(b, name + "A_log", 1, p.heads);
  const auto d = b.floats(name + "D", {p.d_per_channel ? p.inner : p.heads});
  const auto norm = b.norm(name + "norm", p.inner, p.eps, NormKind::kRms);
  const auto out = b.linear(name + "out_proj", p.d, p.inner, b.has(name + "out_proj.bias", false));
  const auto table = fb::CreateStateSpaceDual(b.fb(), p.heads, p.groups, in, conv.weight, conv.bias,
                                              step_bias, p.step_min, p.step_max, a, d, norm, out);
  return {fb::Mixer::StateSpaceDual, table.Union()};
}

// An rms norm, unless the checkpoint has what only a layer norm has.
Offset<fb::Norm> norm(ModelBuilder& b, const MambaParameters& p, const std::string& name) {
  const bool layer = b.has(name + ".bias", false);
  return b.norm(name, p.d, p.eps, layer ? NormKind::kLayer : NormKind::kRms);
}

Offset<fb::Block> block(ModelBuilder& b, const MambaParameters& p, uint32_t layer) {
  const std::string name = layer_name(layer);
  const auto norm1 = norm(b, p, name + "norm");
  const auto mixer =
      p.heads > 0 ? state_space_dual(b, p, name + "mixer.") : selective_scan(b, p, name + "mixer.");
  return fb::CreateBlock(b.fb(), norm1, mixer.type, mixer.table, 0, 0, fb::Residual::pre_norm);
}

ModelParts describe(ModelBuilder& b, const MambaParameters& p) {
  ModelParts parts;
  const bool has_text = !p.vocabulary.texts.empty();
  parts.format = has_text ? 3 : 2;
  parts.width = p.d;
  const std::vector<uint32_t> shape = {p.vocabulary_size, p.d};
  const auto embedding = b.weights(embedding_name(p.plural), shape);
  const auto stem = fb::CreateTokenStem(b.fb(), embedding);
  std::vector<Offset<fb::Block>> blocks;
  for (uint32_t i = 0; i < p.layers; ++i) blocks.push_back(block(b, p, i));
  const auto stage = fb::CreateStageDirect(b.fb(), fb::Stem::TokenStem, stem.Union(), &blocks);
  parts.stages = b.fb().CreateVector(&stage, 1);

  if (p.tied) b.ignore(kHead);
  const auto head_norm = norm(b, p, "backbone.norm_f");
  const auto projection = fb::CreateLinear(b.fb(), p.tied ? embedding : b.weights(kHead, shape));
  parts.head_type = fb::Head::TokenHead;
  parts.head = fb::CreateTokenHead(b.fb(), head_norm, projection).Union();
  // Rows of padding have no text.
  parts.vocabulary = has_text ? describe_vocabulary(b, p.vocabulary, p.vocabulary_size)
                              : describe_vocabulary(b, std::vector<std::string>(p.vocabulary_size));
  return parts;
}

// Ids all over the vocabulary, those with text where there is any.
std::vector<Array> golden_inputs(const MambaParameters& p) {
  std::vector<int32_t> ids;
  const std::vector<std::string>& texts = p.vocabulary.texts;
  for (size_t id = 0; id < texts.size(); ++id) {
    if (!texts[id].empty()) ids.push_back(static_cast<int32_t>(id));
  }
  for (uint32_t id = 0; texts.empty() && id < p.vocabulary_size; ++id) {
    ids.push_back(static_cast<int32_t>(id));
  }
  if (ids.empty()) ids.push_back(0);
  Array tokens = make_array("tokens", DataType::kInt32, {1, kGoldenTokens});
  for (size_t i = 0; i < kGoldenTokens; ++i) {
    std::memcpy(&tokens.bytes[i * sizeof(int32_t)], &ids[i * 7919 % ids.size()], sizeof(int32_t));
  }
  return {tokens};
}

// What the shapes of the first layer say; they win over the configuration, which alone knows the groups.
Result<MambaParameters> read_shapes(const WeightSource& source, uint32_t groups) {
  MambaParameters p;
  p.plural = source.find(embedding_name(true)) != nullptr;
  while (source.find(layer_name(p.layers) + "mixer.A_log") != nullptr) ++p.layers;
  const std::string mixer = layer_name(0) + "mixer.";
  const bool dual = source.find(kFirstLayer)->shape.size() == 1;
  uint32_t channels = 0;
  struct Extent {
    std::string name;
    size_t axis;
    uint32_t most, *value;
  };
  std::vector<Extent> extents = {{embedding_name(p.plural), 0, kMaxVocabulary, &p.vocabulary_size},
                                 {embedding_name(p.plural), 1, kMaxWidth, &p.d},
                                 {mixer + "conv1d.weight", 2, kMaxTaps, &p.taps},
                                 {mixer + "out_proj.weight", 1, kMaxWidth, &p.inner}};
  if (dual) {
    extents.push_back({mixer + "A_log", 0, p.inner, &p.heads});
    extents.push_back({mixer + "conv1d.weight", 0, 3 * kMaxWidth, &channels});
  } else {
    extents.push_back({mixer + "A_log", 1, kMaxStates, &p.states});
    extents.push_back({mixer + "dt_proj.weight", 1, kMaxWidth, &p.rank});
  }
  const char* path = source.checkpoint->path().c_str();
  for (const Extent& extent : extents) {
    *extent.value = source.extent(extent.name, extent.axis);
    const uint32_t most = extent.value == &p.heads ? p.inner : extent.most;
    if (*extent.value >= 1 && *extent.value <= most) continue;
    return fail(Error::kCheckpoint, "%s: tensor %s%s: its extent %zu is %u, expected 1 to %u", path,
                source.prefix.c_str(), extent.name.c_str(), extent.axis, *extent.value, most);
  }
  if (p.layers > kMaxBlocks) {
    return fail(Error::kUnsupported, "%s: %u layers, at most %u are supported", path, p.layers, kMaxBlocks);
  }
  if (!dual) return p;
  p.groups = groups;
  p.d_per_channel = source.extent(mixer + "D", 0) != p.heads;
  const uint32_t shared = channels > p.inner ? channels - p.inner : 0;
  p.states = shared / 2 / groups;
  if (p.inner % p.heads != 0 || p.heads % groups != 0 || shared != 2 * groups * p.states || p.states < 1 ||
      p.states > kMaxStates) {
    return fail(
        Error::kCheckpoint,
        "%s: %u inner channels, %u heads, %u groups and %u channels of the convolution do not fit each other, "
        "or make over %u states",
        path, p.inner, p.heads, groups, channels, kMaxStates);
  }
  return p;
}

// --config, then the folder's config.json; of both what the authors put into ssm_cfg, too.
Config all_config(const TensorSource& source, const FamilyOptions& options) {
  Config config = options.config;
  if (source.metadata().contains("config")) {
    const nlohmann::json& own = source.metadata()["config"];
    const std::string origin = source.folder() + "config.json";
    config.add(own, origin);
    if (own.contains("ssm_cfg")) config.add(own["ssm_cfg"], origin);
  }
  return config;
}

// What a configuration can ask for and this code does not compute.
Status check_config(const Config& config, const std::string& path) {
  const auto refuse = [&](const char* what) {
    return fail(Error::kUnsupported, "%s: %s is not supported", path.c_str(), what);
  };
  const nlohmann::json* attention = config.find("attn_layer_idx");
  if (attention && !attention->empty()) return refuse("attn_layer_idx: a model with layers of attention");
  LSRT_ASSIGN(const uint32_t hidden, config.count("d_intermediate", 0, kMaxWidth, 0));
  if (hidden > 0) return refuse("d_intermediate over 0: a model with feed-forward layers");
  LSRT_ASSIGN(const std::string activation, config.text("hidden_act", "silu"));
  if (activation != "silu" && activation != "swish") {
    return refuse(("hidden_act " + activation + ": an activation other than silu").c_str());
  }
  LSRT_ASSIGN(const std::string layer, config.text("layer", "Mamba1"));
  if (layer != "Mamba1" && layer != "Mamba2") return refuse(("ssm_cfg.layer " + layer).c_str());
  LSRT_ASSIGN(const bool before, config.boolean("norm_before_gate", false));
  if (before) return refuse("norm_before_gate");
  LSRT_ASSIGN(const bool rms, config.boolean("rmsnorm", true));
  if (!rms) return refuse("rmsnorm false: a Mamba-2 without the norm behind its gate");
  return {};
}

// Of the two numbers of dt_limit or time_step_limit, of which one may be infinity in several spellings.
Status read_limits(const Config& config, const std::string& path, MambaParameters* p) {
  const nlohmann::json* limits = config.find("dt_limit");
  if (!limits) limits = config.find("time_step_limit");
  if (!limits) return {};
  float values[2] = {-1, -1};
  for (size_t i = 0; i < 2 && limits->is_array() && limits->size() == 2; ++i) {
    nlohmann::json value = (*limits)[i];
    if (value.is_object() && value.contains("__float__")) value = value["__float__"];
    if (value.is_number()) values[i] = static_cast<float>(value.get<double>());
    if (value == "Infinity") values[i] = std::numeric_limits<float>::infinity();
  }
  if (!(values[0] >= 0 && values[1] >= values[0])) {
    return fail(Error::kCheckpoint,
                "%s: dt_limit, time_step_limit: expected two numbers, the lower one first", path.c_str());
  }
  p->step_min = values[0], p->step_max = values[1];
  return {};
}

// No texts: the checkpoint has no tokenizer.
Result<BytePairVocabulary> read_vocabulary(const TensorSource& checkpoint, const std::string& given,
                                           uint32_t size) {
  const std::string path = given.empty() ? checkpoint.folder() + "tokenizer.json" : given;
  std::error_code ignored;
  if (given.empty() && !std::filesystem::exists(path, ignored)) return BytePairVocabulary();
  LSRT_ASSIGN(const MappedFile file, MappedFile::open(path));
  LSRT_ASSIGN(BytePairVocabulary vocabulary, read_tokenizer_json({path, file.data(), file.size()}));
  if (vocabulary.texts.size() <= size) return vocabulary;
  return fail(Error::kCheckpoint, "%s: has ids up to %zu, but the embedding has %u rows", path.c_str(),
              vocabulary.texts.size() - 1, size);
}

std::string architecture(const MambaParameters& p) {
  char text[240];
  if (p.heads > 0) {
    std::snprintf(
        text, sizeof text,
        "state space dual (Mamba-2): %u layers, d %u, inner %u, %u heads, %u groups, %u states, %u taps, %u "
        "tokens%s",
        p.layers, p.d, p.inner, p.heads, p.groups, p.states, p.taps, p.vocabulary_size,
        p.tied ? ", tied" : "");
    return text;
  }
  std::snprintf(text, sizeof text,
                "selective scan (%s): %u layers, d %u, inner %u, %u states, %u taps, rank %u, %u tokens%s",
                p.parameter_eps > 0 ? "Falcon-Mamba" : "Mamba", p.layers, p.d, p.inner, p.states, p.taps,
                p.rank, p.vocabulary_size, p.tied ? ", tied" : "");
  return text;
}

}  // namespace

bool is_mamba(const TensorSource& source, std::string* prefix) {
  return find_prefix(source, kFirstLayer, {"backbone.norm_f.weight"}, prefix);
}

ModelPlan plan_mamba(const MambaParameters& parameters, const WeightSource& source) {
  ModelPlan plan;
  plan.family = Family::kLm;
  plan.architecture = architecture(parameters);
  plan.source = source;
  plan.describe = [parameters](ModelBuilder& builder) { return describe(builder, parameters); };
  plan.golden_inputs = [parameters] { return golden_inputs(parameters); };
  plan.golden_positions = golden_positions(parameters.vocabulary_size, kGoldenTokens);
  return plan;
}

Result<ModelPlan> plan_mamba(const TensorSource& checkpoint, const std::string& prefix,
                             const FamilyOptions& options) {
  const WeightSource source{&checkpoint, prefix};
  if (options.block != 0 || options.memory != 0) {
    return fail(Error::kArgument, "%s: block and memory do not apply to a selective scan",
                checkpoint.path().c_str());
  }
  const Config config = all_config(checkpoint, options);
  LSRT_TRY(check_config(config, checkpoint.path()));
  LSRT_ASSIGN(uint32_t groups, config.count("n_groups", 1, kMaxWidth, 1));
  LSRT_ASSIGN(groups, config.count("ngroups", 1, kMaxWidth, groups));
  LSRT_ASSIGN(MambaParameters p, read_shapes(source, groups));
  LSRT_ASSIGN(const uint32_t d_ssm, config.count("d_ssm", 0, kMaxWidth, p.inner));
  if (d_ssm != p.inner) {
    return fail(Error::kUnsupported, "%s: d_ssm under the inner width is not supported",
                checkpoint.path().c_str());
  }
  LSRT_TRY(read_limits(config, checkpoint.path(), &p));
  LSRT_ASSIGN(const double eps, config.number("layer_norm_epsilon", 1e-5));
  p.eps = static_cast<float>(eps);
  LSRT_ASSIGN(const std::string type, config.text("model_type", "mamba"));
  LSRT_ASSIGN(const double parameter_eps, config.number("mixer_rms_eps", type == "falcon_mamba" ? 1e-6 : 0));
  p.parameter_eps = static_cast<float>(parameter_eps);
  const SourceTensor* head = source.find(kHead);
  p.tied = head == nullptr || checkpoint.same(*head, *source.find(embedding_name(p.plural)));
  LSRT_ASSIGN(p.vocabulary, read_vocabulary(checkpoint, options.tokenizer_path, p.vocabulary_size));
  ModelPlan plan = plan_mamba(p, source);
  if (p.groups > 1 && type == "mamba2") {
    plan.remarks.push_back(
        "the gated norm takes each of the groups by itself, as the authors do; transformers takes the whole row");
  }
  if (p.vocabulary.texts.empty()) {
    plan.remarks.push_back(
        "the model has no text, for want of a tokenizer.json: run, but neither generate nor score");
  }
  return plan;
}

}  // namespace lsrt
