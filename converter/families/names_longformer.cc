#include "converter/families/names_longformer.h"

namespace lsrt {
namespace {

constexpr char kFirstPatch[] = "layer1.0.proj.weight";
constexpr const char* kSets[] = {"query", "kv",
                                 "proj"};  // a layer's weights, and NAME_global of its global rows
// Other attention of the same repository, by a tensor that only it has.
constexpr struct {
  const char *tensor, *attention;
} kOthers[] = {{"proj_k.weight", "linformer"}, {"proj_k", "linformer"}, {"proj_sr.weight", "srformer"}};

// At 384 pixels the authors crop less.
uint32_t resize(uint32_t size) { return static_cast<uint32_t>(size / (size < 384 ? 0.875 : 0.922)); }

flatbuffers::Offset<fb::Linear> query_key_value(ModelBuilder& b, const VilStage& stage,
                                                const std::string& name, const std::string& set) {
  const uint32_t d = stage.width;
  const std::string query = name + "query" + set, key_value = name + "kv" + set;
  return b.linear(name + "{query,kv}" + set,
                  {ModelBuilder::queries(query, {d, d}, b.has(query + ".bias", true), d, stage.heads),
                   {key_value, {2 * d, d}, b.has(key_value + ".bias", true)}});
}

// The middle of the authors' table [(4 window - 1)^2, heads], as far as a window sees.
flatbuffers::Offset<fb::Tensor> relative_bias(ModelBuilder& b, const VilStage& stage, uint32_t margin,
                                              const std::string& name) {
  const std::string table = name + "local_relative_position_bias_table";
  const uint32_t all = 4 * stage.window - 1, side = 2 * (stage.window - 1 + margin) + 1, heads = stage.heads;
  b.require(table, {all * all, heads});
  return b.floats(table, {side * side, heads},
                  [source = b.source(), table, all, side, heads]() -> Result<std::vector<float>> {
                    LSRT_ASSIGN(const std::vector<float> values, source.read(table, {all * all, heads}));
                    std::vector<float> middle;
                    for (uint32_t y = (all - side) / 2; y < (all + side) / 2; y++) {
                      const auto row = values.begin() + (size_t{y} * all + (all - side) / 2) * heads;
                      middle.insert(middle.end(), row, row + size_t{side} * heads);
                    }
                    return middle;
                  });
}

ModelBuilder::MixerTable window(ModelBuilder& b, const LongformerParameters& p, const VilStage& stage,
                                const std::string& name) {
  const uint32_t margin = p.neighbours ? stage.window : 0;
  const bool globals = stage.cls_tokens > 0, own = p.own_globals.count(name) > 0;
  const auto qkv = query_key_value(b, stage, name, "");
  const auto out = b.linear(name + "proj", stage.width, stage.width);
  flatbuffers::Offset<fb::Linear> global_qkv, global_out;
  flatbuffers::Offset<fb::Tensor> relative, global_bias, among;
  if (own) {
    global_qkv = query_key_value(b, stage, name, "_global");
    global_out = b.linear(name + "proj_global", stage.width, stage.width);
  } else {
    b.ignore(name, {"query_global", "kv_global", "proj_global"});
  }
  if (!stage.absolute) relative = relative_bias(b, stage, margin, name);
  if (!stage.absolute && globals) {
    const uint32_t g = stage.cls_tokens;
    global_bias = b.floats(name + "g2l_relative_position_bias", {2, stage.heads, g});
    among = b.floats(name + "g2g_relative_position_bias", {stage.heads, g, g});
  }
  const auto mixer = fb::CreateVisionWindow(b.fb(), stage.heads, stage.window, margin, p.edge, qkv, out,
                                            global_qkv, global_out, relative, global_bias, among);
  return {fb::Mixer::VisionWindow, mixer.Union()};
}

// Whether the two tensors are there and differ.
Result<bool> differ(const WeightSource& source, const std::string& a, const std::string& b) {
  if (!source.find(a) || !source.find(b)) return false;
  LSRT_ASSIGN(const std::vector<float> first, source.checkpoint->read(*source.find(a)));
  LSRT_ASSIGN(const std::vector<float> second, source.checkpoint->read(*source.find(b)));
  return first != second;
}

// The published files hold shared weights twice.
Status find_own_globals(const WeightSource& source, LongformerParameters* p) {
  for (size_t i = 0; i < p->vil.stages.size(); i++) {
    const VilStage& stage = p->vil.stages[i];
    if (!stage.windowed || stage.cls_tokens == 0) continue;
    for (uint32_t block = 0; block < stage.blocks; block++) {
      const std::string name =
          "layer" + std::to_string(i + 1) + "." + std::to_string(2 * block + 1) + ".attn.";
      for (const char* set : kSets) {
        for (const char* kind : {".weight", ".bias"}) {
          LSRT_ASSIGN(const bool own, differ(source, name + set + kind, name + set + "_global" + kind));
          if (own) p->own_globals.insert(name);
        }
      }
    }
  }
  return {};
}

Status refuse_others(const WeightSource& source) {
  for (const auto& other : kOthers) {
    if (source.find(std::string("layer1.1.attn.") + other.tensor) == nullptr) continue;
    return fail(Error::kUnsupported, "%s: attention of type %s is not supported, only windows (longformer) are",
                source.checkpoint->path().c_str(), other.attention);
  }
  return {};
}

}  // namespace

bool is_longformer(const TensorSource& source, std::string* prefix) {
  return find_prefix(source, kFirstPatch, {"layer1.1.attn.query.weight"}, prefix);
}

ModelPlan plan_longformer(const LongformerParameters& parameters, const WeightSource& source) {
  const auto windowed = [parameters](ModelBuilder& b, const VilStage& stage, const std::string& name) {
    return window(b, parameters, stage, name);
  };
  return plan_vil_model("Vision Longformer", parameters.vil, source, windowed);
}

Result<ModelPlan> plan_longformer(const TensorSource& checkpoint, const std::string& prefix,
                                  const FamilyOptions& options) {
  const WeightSource source{&checkpoint, prefix};
  LSRT_TRY(refuse_others(source));
  Config config = options.config;
  config.add(checkpoint.metadata(), checkpoint.path());
  LongformerParameters p;
  // The authors' code builds every norm with 1e-6, whatever LN_EPS says.
  LSRT_ASSIGN(p.vil, vil_parameters(source, config, options, {resize, false}));
  LSRT_ASSIGN(const int32_t exact, config.integer("exact", 0));
  LSRT_ASSIGN(const int32_t mode, config.integer("mode", 0));
  LSRT_ASSIGN(const bool only_global, config.boolean("only_global", false));
  if (exact < -1 || exact > 1 || only_global) {
    return fail(Error::kUnsupported, "%s: %s", checkpoint.path().c_str(),
                only_global ? "only_global: windows without patches are not supported"
                            : "exact (SW_EXACT) is not -1, 0 or 1");
  }
  p.edge = exact == 0 ? fb::WindowEdge::cut : exact == 1 ? fb::WindowEdge::exact : fb::WindowEdge::torus;
  p.neighbours = mode != -1;
  LSRT_TRY(find_own_globals(source, &p));
  return plan_longformer(p, source);
}

}  // namespace lsrt
