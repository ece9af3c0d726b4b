#include "converter/families/names_lm.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/mapped_file.h"
#include "converter/families/dictionary.h"
#include "converter/families/mixture.h"
#include "converter/families/positions.h"
#include "runtime/model/reader.h"

namespace lsrt {
namespace {

using flatbuffers::Offset;

constexpr char kEmbedding[] = "in_emb.weight";
constexpr uint32_t kDefaultBlock = 256;  // tokens: what the authors evaluate with
constexpr uint32_t kGoldenTokens = 64;   // after the first block

std::string layer_name(uint32_t layer) { return "layers." + std::to_string(layer) + "."; }

bool is_full(const LmParameters& p, uint32_t layer) { return !p.full.empty() && p.full[layer]; }

// rank 0 and a window of the whole memory: full attention with a bounded cache.
Offset<fb::CausalLongShort> mixer(ModelBuilder& b, const LmParameters& p, const std::string& name,
                                  uint32_t rank, uint32_t window) {
  const uint32_t head_dim = p.d / p.heads;
  std::vector<ModelBuilder::Rows> rows = {
      ModelBuilder::queries(name + "proj_query", {p.d, p.d}, p.bias, p.d, p.heads),
      {name + "proj_key", {p.d, p.d}, p.bias},
      {name + "proj_val", {p.d, p.d}, p.bias}};
  if (rank > 0) rows.push_back({name + "dconv_1", {p.heads * rank, p.d}});
  const auto qkv = b.linear(name + "{proj_query,proj_key,proj_val,dconv_1}", rows);
  const auto out = b.linear(name + "proj_out", p.d, p.d, p.bias);
  const auto content_bias = b.floats(name + "r_w_bias", {p.heads, head_dim});
  const auto position_bias = b.floats(name + "r_r_bias", {p.heads, head_dim});
  const auto norm_window = b.norm(name + "dual_ln_win", p.d, 1e-5f);

  const auto positions = [&](const char* projection, bool bias, uint32_t count, int32_t clamp) {
    const PositionTable table{name + projection, bias, p.heads, count, p.d, clamp};
    b.require(table.projection + ".weight", {p.d, p.d});
    return b.weights(name + projection + ".positions", {p.heads, count, head_dim},
                     [source = b.source(), table] { return make_positions(source, table); });
  };
  Offset<fb::Tensor> window_positions, chunk_positions;
  Offset<fb::Norm> norm_summary;
  Offset<fb::Linear> chunk_position_projection;
  if (window > 0) {
    window_positions = positions("r_net", false, window, p.clamp);
  } else {
    b.ignore(name + "r_net.weight");
  }
  if (rank == 0) {
    b.ignore(name, {"dconv_1", "r_net_chunk", "dual_ln_dproj"});
  } else {
    norm_summary = b.norm(name + "dual_ln_dproj", p.d, 1e-5f);
    chunk_positions = positions("r_net_chunk", true, (p.memory + p.block) / p.chunk * rank, p.chunk_clamp);
    chunk_position_projection = b.linear(name + "r_net_chunk", p.d, p.d);
  }
  return fb::CreateCausalLongShort(b.fb(), p.heads, window, p.chunk, rank, p.clamp, p.chunk_clamp, qkv, out,
                                   content_bias, position_bias, norm_window, norm_summary, window_positions,
                                   chunk_positions, chunk_position_projection);
}

Offset<fb::Block> block(ModelBuilder& b, const LmParameters& p, uint32_t layer) {
  const std::string name = layer_name(layer);
  const bool full = is_full(p, layer);
  ModelBuilder::BlockParts parts{name + "norm1", name + "norm2", name + "ff.fc1", name + "ff.fc2", p.d,
                                 p.hidden,       1e-5f};
  parts.activation = p.gelu ? fb::Activation::gelu : fb::Activation::relu;
  parts.residual = p.pre_ln ? fb::Residual::normed : fb::Residual::post_norm;
  return b.block(parts, [&]() -> ModelBuilder::MixerTable {
    const auto table = mixer(b, p, name + "attn.", full ? 0 : p.rank, full ? p.memory : p.window);
    return {fb::Mixer::CausalLongShort, table.Union()};
  });
}

ModelParts describe(ModelBuilder& b, const LmParameters& p) {
  const auto vocabulary_size = static_cast<uint32_t>(p.vocabulary.size());
  ModelParts parts;
  parts.width = p.d;
  const auto embedding = b.weights(kEmbedding, {vocabulary_size, p.d});
  const auto stem = fb::CreateTokenStem(b.fb(), embedding, std::sqrt(static_cast<float>(p.d)));
  std::vector<Offset<fb::Block>> blocks;
  for (uint32_t i = 0; i < p.layers; i++) blocks.push_back(block(b, p, i));
  const auto stage = fb::CreateStageDirect(b.fb(), fb::Stem::TokenStem, stem.Union(), &blocks);
  parts.stages = b.fb().CreateVector(&stage, 1);

  b.ignore("pos_emb.inv_freq");  // checked against the formula
  if (p.tied) b.ignore("out_emb.weight");
  const auto projection = p.tied ? embedding : b.weights("out_emb.weight", {vocabulary_size, p.d});
  const auto bias = b.floats("out_emb.bias", {vocabulary_size});
  const auto linear = fb::CreateLinear(b.fb(), projection, bias);
  parts.head_type = fb::Head::TokenHead;
  parts.head = fb::CreateTokenHead(b.fb(), 0, linear).Union();
  parts.stream = fb::CreateStream(b.fb(), p.block, p.memory);

  parts.vocabulary = describe_vocabulary(b, p.vocabulary);
  return parts;
}

// An English sentence where the vocabulary can spell it, else the tokens that have text, one after the other.
std::vector<Array> golden_inputs(const LmParameters& p) {
  const std::string sentence = "The clocks were striking, and she went down to the sea again. ";
  std::vector<int32_t> alphabet, letters;
  for (char c : sentence) {
    for (size_t id = 0; id < p.vocabulary.size(); id++) {
      if (p.vocabulary[id] == std::string(1, c)) letters.push_back(static_cast<int32_t>(id));
    }
  }
  for (size_t id = 0; id < p.vocabulary.size(); id++) {
    if (!p.vocabulary[id].empty()) alphabet.push_back(static_cast<int32_t>(id));
  }
  if (alphabet.empty()) alphabet.push_back(0);
  const std::vector<int32_t>& cycle = letters.size() == sentence.size() ? letters : alphabet;
  const uint32_t n = p.block + kGoldenTokens;
  Array tokens{"tokens", DataType::kInt32, {1, n}, std::vector<uint8_t>(n * sizeof(int32_t))};
  for (uint32_t i = 0; i < n; i++) {
    std::memcpy(&tokens.bytes[i * sizeof(int32_t)], &cycle[i % cycle.size()], sizeof(int32_t));
  }
  return {tokens};
}

// Where the hyper-parameters of a fairseq checkpoint are: cfg.model, or args in older ones.
Config all_config(const TensorSource& source, const FamilyOptions& options) {
  Config config = options.config;
  const nlohmann::json& metadata = source.metadata();
  const auto cfg = metadata.find("cfg");
  if (cfg != metadata.end() && cfg->is_object() && cfg->contains("model")) {
    config.add((*cfg)["model"], "cfg.model of " + source.path());
  }
  if (metadata.contains("args")) config.add(metadata["args"], "args of " + source.path());
  return config;
}

Result<LmParameters> read_parameters(const TensorSource& source, const FamilyOptions& options) {
  const Config config = all_config(source, options);
  LmParameters p;
  LSRT_ASSIGN(p.layers, config.count("n_layer", 1, kMaxBlocks));
  LSRT_ASSIGN(p.d, config.count("d_model", 2, kMaxWidth));
  LSRT_ASSIGN(p.heads, config.count("n_head", 1, kMaxWidth));
  LSRT_ASSIGN(p.hidden, config.count("d_inner", 1, kMaxWidth));
  LSRT_ASSIGN(p.rank, config.count("chunk_rank", 0, kMaxWindow));
  LSRT_ASSIGN(p.chunk, config.count("chunk_size", 1, p.rank > 0 ? kMaxChunk : kMaxStreamTokens));
  LSRT_ASSIGN(p.window, config.count("window_len", 0, kMaxWindow));
  LSRT_ASSIGN(p.clamp, config.integer("clamp_len", -1));
  LSRT_ASSIGN(p.chunk_clamp, config.integer("cpos_clamp_len", -1));
  LSRT_ASSIGN(p.pre_ln, config.boolean("pre_ln"));
  LSRT_ASSIGN(p.gelu, config.boolean("use_gelu"));
  LSRT_ASSIGN(p.bias, config.boolean("use_bias"));
  LSRT_ASSIGN(p.full, full_layers(config, p.layers));
  if (options.memory != 0) {
    p.memory = options.memory;
  } else {
    LSRT_ASSIGN(p.memory, config.count("mem_len", 0, kMaxStreamTokens));
  }
  p.block = options.block != 0 ? options.block : (kDefaultBlock + p.chunk - 1) / p.chunk * p.chunk;
  return p;
}

// Relations that no single tensor shows.
Status check(const LmParameters& p, const TensorSource& checkpoint) {
  const char* name = checkpoint.path().c_str();
  if (p.d % p.heads != 0 || p.d % 2 != 0) {
    return fail(Error::kCheckpoint, "%s: d_model %u is not even or not a multiple of n_head %u", name, p.d,
                p.heads);
  }
  if (p.memory < p.window) {
    return fail(Error::kArgument,
                "%s: the memory of %u tokens is shorter than the window of %u; choose --memory", name,
                p.memory, p.window);
  }
  if (p.memory % p.chunk != 0 || p.block % p.chunk != 0) {
    return fail(Error::kArgument,
                "%s: the memory of %u and the block of %u tokens must be multiples of the chunk of %u; "
                "choose --memory and --block",
                name, p.memory, p.block, p.chunk);
  }
  const uint64_t summaries = (uint64_t{p.memory} + p.block) / p.chunk * p.rank;
  uint64_t weights = 0;
  for (const SourceTensor& tensor : checkpoint.tensors()) weights += static_cast<uint64_t>(tensor.count());
  const uint64_t most = (kTableElements + weights) / (uint64_t{p.layers} * p.d);
  if (uint64_t{p.heads} * p.rank > kMaxWidth || summaries > most) {
    return fail(
        Error::kUnsupported,
        "%s: chunk_rank %u: %u heads make %llu weights of a chunk, at most %u are supported, and "
        "memory and block "
        "%llu summaries, at most %llu for %llu weights; choose a smaller --memory: a session can be given more",
        name, p.rank, p.heads, static_cast<unsigned long long>(uint64_t{p.heads} * p.rank), kMaxWidth,
        static_cast<unsigned long long>(summaries), static_cast<unsigned long long>(most),
        static_cast<unsigned long long>(weights));
  }
  if (p.memory > kMaxStreamTokens || p.block > kMaxStreamTokens) {
    return fail(Error::kArgument, "%s: the memory of %u or the block of %u tokens is over %u", name, p.memory,
                p.block, kMaxStreamTokens);
  }
  return {};
}

// The tables in the model file assume the formula of the sinusoids; a checkpoint that stores other
// frequencies would be computed wrongly.
Status check_frequencies(const WeightSource& source, uint32_t d) {
  if (source.find("pos_emb.inv_freq") == nullptr) return {};
  LSRT_ASSIGN(const std::vector<float> stored, source.read("pos_emb.inv_freq", {d / 2}));
  const std::vector<double> expected = sinusoid_frequencies(d);
  for (uint32_t k = 0; k < d / 2; k++) {
    if (std::abs(static_cast<double>(stored[k]) / expected[k] - 1) > 2e-3) {  // float16 holds no more
      return fail(Error::kUnsupported, "%s: %spos_emb.inv_freq[%u] is %g, expected %g",
                  source.checkpoint->path().c_str(), source.prefix.c_str(), k, static_cast<double>(stored[k]),
                  expected[k]);
    }
  }
  return {};
}

Result<bool> is_tied(const WeightSource& source, const std::vector<uint32_t>& shape) {
  if (source.find("out_emb.weight") == nullptr) return true;
  LSRT_ASSIGN(const std::vector<float> in, source.read(kEmbedding, shape));
  LSRT_ASSIGN(const std::vector<float> out, source.read("out_emb.weight", shape));
  return in == out;
}

Result<std::vector<std::string>> read_vocabulary(const WeightSource& source, const std::string& dict_option) {
  const std::string& path = source.checkpoint->path();
  const std::string dict_path =
      !dict_option.empty() ? dict_option : path.substr(0, path.rfind('/') + 1) + "dict.txt";
  const Result<MappedFile> file = MappedFile::open(dict_path);
  if (!file.ok() && dict_option.empty()) {
    return fail(Error::kFile, "%s: a language model needs its dictionary; give it with --dict dict.txt (%s)",
                path.c_str(), file.status().message().c_str());
  }
  if (!file.ok()) return file.status();
  const Bytes bytes{dict_path, file.value().data(), file.value().size()};
  LSRT_ASSIGN(std::vector<std::string> vocabulary, read_dictionary(bytes));
  const auto& shape = source.find(kEmbedding)->shape;
  const size_t size = vocabulary.size();
  if (shape.empty() || shape[0] != static_cast<int64_t>(size)) {
    return fail(Error::kCheckpoint,
                "%s: makes %zu tokens (4 special ones and one a line), but %s has %lld rows",
                dict_path.c_str(), size, kEmbedding, shape.empty() ? 0LL : static_cast<long long>(shape[0]));
  }
  return vocabulary;
}

std::string architecture(const LmParameters& p) {
  char text[320];
  std::snprintf(text, sizeof text,
                "causal long-short: %u layers, d %u, %u heads, hidden %u, window %u, chunk %u, rank %u, %s, "
                "%s, %zu tokens%s",
                p.layers, p.d, p.heads, p.hidden, p.window, p.chunk, p.rank,
                p.pre_ln ? "pre-norm" : "post-norm", p.gelu ? "GELU" : "ReLU", p.vocabulary.size(),
                mixture_text(p.full).c_str());
  return text;
}

}  // namespace

bool is_lm(const TensorSource& source, std::string* prefix) {
  return find_prefix(source, kEmbedding, {"layers.0.attn.proj_query.weight"}, prefix);
}

ModelPlan plan_lm(const LmParameters& parameters, const WeightSource& source) {
  ModelPlan plan;
  plan.family = Family::kLm;
  plan.architecture = architecture(parameters);
  plan.source = source;
  plan.describe = [parameters](ModelBuilder& builder) { return describe(builder, parameters); };
  plan.golden_inputs = [parameters] { return golden_inputs(parameters); };
  plan.golden_positions = golden_positions(parameters.vocabulary.size(), kGoldenTokens);
  return plan;
}

Result<ModelPlan> plan_lm(const TensorSource& checkpoint, const std::string& prefix,
                          const FamilyOptions& options) {
  const WeightSource source{&checkpoint, prefix};
  LSRT_ASSIGN(LmParameters parameters, read_parameters(checkpoint, options));
  LSRT_TRY(check(parameters, checkpoint));
  LSRT_ASSIGN(parameters.vocabulary, read_vocabulary(source, options.dict_path));
  const std::vector<uint32_t> shape = {static_cast<uint32_t>(parameters.vocabulary.size()), parameters.d};
  LSRT_TRY(source.check(kEmbedding, shape));
  LSRT_TRY(check_frequencies(source, parameters.d));
  LSRT_ASSIGN(parameters.tied, is_tied(source, shape));
  return plan_lm(parameters, source);
}

}  // namespace lsrt
