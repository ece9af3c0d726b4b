#include "converter/families/names_vil.h"

#include <cmath>

namespace lsrt {
namespace {

using flatbuffers::Offset;

constexpr char kFirstPatch[] = "layer1.0.proj.weight";
constexpr float kAttentionEps = 1e-5f;
constexpr double kCropRatio = 0.875;  // of the resized image's shorter side that the centre crop keeps

uint32_t key_side(const VilStage& stage) { return stage.window + 2 * std::max(stage.window / 2, 1u); }

ModelBuilder::MixerTable long_short(ModelBuilder& b, const VilStage& stage, const std::string& name) {
  std::vector<ModelBuilder::Rows> rows = {vil_qkv_rows(b, stage, name)};
  if (stage.rank > 0) {
    rows.push_back({name + "to_dynamic_projection", {stage.heads * stage.rank, stage.width}});
  } else {
    b.ignore(name, {"to_dynamic_projection", "dual_ln_dp"});
  }
  const auto qkv = b.linear(name + "{qkv,to_dynamic_projection}", rows);
  const auto out = b.linear(name + "proj", stage.width, stage.width);
  const auto norm_window = b.norm(name + "dual_ln_full", stage.width, kAttentionEps);
  Offset<fb::Norm> norm_summary;
  if (stage.rank > 0) norm_summary = b.norm(name + "dual_ln_dp", stage.width, kAttentionEps);
  Offset<fb::Tensor> bias;
  if (!stage.absolute) bias = describe_relative_bias(b, name, stage.window, key_side(stage), stage.heads);
  const auto mixer = fb::CreateVisionLongShort(b.fb(), stage.heads, stage.window, stage.rank, qkv, out,
                                               norm_window, norm_summary, bias);
  return {fb::Mixer::VisionLongShort, mixer.Union()};
}

uint32_t resize(uint32_t size) { return static_cast<uint32_t>(std::lround(size / kCropRatio)); }

}  // namespace

bool is_vil(const TensorSource& source, std::string* prefix) {
  return find_prefix(source, kFirstPatch, {"layer1.1.attn.qkv.weight"}, prefix);
}

ModelPlan plan_vil(const VilParameters& parameters, const WeightSource& source) {
  return plan_vil_model("ViL-LS", parameters, source, long_short);
}

Result<ModelPlan> plan_vil(const TensorSource& checkpoint, const std::string& prefix,
                           const FamilyOptions& options) {
  const WeightSource source{&checkpoint, prefix};
  Config config = options.config;
  config.add(checkpoint.metadata(), checkpoint.path());
  LSRT_ASSIGN(const VilParameters parameters, vil_parameters(source, config, options, {resize, true}));
  return plan_vil(parameters, source);
}

}  // namespace lsrt
