#include "converter/families/vil_model.h"

#include <cmath>
#include <cstring>

#include "converter/families/vil_tables.h"
#include "runtime/model/reader.h"

namespace lsrt {
namespace {

using flatbuffers::Offset;

constexpr float kMean[] = {0.485f, 0.456f, 0.406f}, kStd[] = {0.229f, 0.224f, 0.225f};  // of ImageNet

Offset<fb::FullAttention> full(ModelBuilder& b, const VilStage& stage, uint32_t grid,
                               const std::string& name) {
  const auto qkv = b.linear(name + "qkv", {vil_qkv_rows(b, stage, name)});
  const auto out = b.linear(name + "proj", stage.width, stage.width);
  Offset<fb::Tensor> bias, cls_bias;
  if (!stage.absolute) bias = describe_relative_bias(b, name, grid, grid, stage.heads);
  if (!stage.absolute && stage.cls_tokens > 0) {
    b.require(name + "g2g_relative_position_bias", {stage.heads});
    b.require(name + "g2l_relative_position_bias", {2, stage.heads});
    cls_bias = b.floats(
        name + "cls_relative_position_bias", {3, stage.heads},
        [source = b.source(), name, heads = stage.heads] { return make_cls_bias(source, name, heads); });
  }
  return fb::CreateFullAttention(b.fb(), stage.heads, qkv, out, 0, bias, cls_bias);
}

Offset<fb::PatchStem> stem(ModelBuilder& b, const VilParameters& p, const VilStage& stage, uint32_t channels,
                           uint32_t grid, const std::string& name) {
  const bool bias = b.has(name + "proj.bias", true);
  const auto projection =
      b.linear(name + "proj", {{name + "proj", {stage.width, channels, stage.patch, stage.patch}, bias}});
  Offset<fb::Norm> norm;
  if (b.has(name + "norm_embed.weight", true)) norm = b.norm(name + "norm_embed", stage.width, p.eps);
  Offset<fb::Tensor> cls_tokens, positions;
  if (stage.cls_tokens > 0) cls_tokens = b.floats(name + "cls_token", {stage.cls_tokens, stage.width});
  if (stage.absolute) {
    if (stage.cls_tokens > 0) b.require(name + "cls_pos_embed", {stage.cls_tokens, stage.width});
    b.require(name + "x_pos_embed", {grid, stage.width / 2});
    b.require(name + "y_pos_embed", {grid, stage.width / 2});
    const uint32_t rows = stage.cls_tokens + grid * grid;
    positions =
        b.floats(name + "{cls,x,y}_pos_embed", {rows, stage.width}, [source = b.source(), name, grid, stage] {
          return make_patch_positions(source, name, stage.cls_tokens, grid, stage.width);
        });
  }
  return fb::CreatePatchStem(b.fb(), stage.patch, grid, channels, projection, norm, cls_tokens, positions);
}

Offset<fb::Block> block(ModelBuilder& b, const VilParameters& p, const DescribeWindowed& windowed,
                        const VilStage& stage, uint32_t grid, const std::string& attention_name,
                        const std::string& mlp_name) {
  const std::string attention = attention_name + "attn.";
  b.ignore(attention + "relative_position_index");  // read with its table, where there is one
  const uint32_t hidden =
      b.source().random() ? 4 * stage.width : b.source().extent(mlp_name + "mlp.fc1.weight", 0);
  const ModelBuilder::BlockParts parts{attention_name + "norm",
                                       mlp_name + "norm",
                                       mlp_name + "mlp.fc1",
                                       mlp_name + "mlp.fc2",
                                       stage.width,
                                       hidden,
                                       p.eps};
  return b.block(parts, [&]() -> ModelBuilder::MixerTable {
    if (stage.windowed) return windowed(b, stage, attention);
    return {fb::Mixer::FullAttention, full(b, stage, grid, attention).Union()};
  });
}

ModelParts describe(ModelBuilder& b, const VilParameters& p, const DescribeWindowed& windowed) {
  ModelParts parts;
  parts.width = p.stages[0].width;
  std::vector<Offset<fb::Stage>> stages;
  uint32_t channels = 3, grid = p.size;
  for (size_t i = 0; i < p.stages.size(); i++) {
    const VilStage& stage = p.stages[i];
    const std::string name = "layer" + std::to_string(i + 1) + ".";
    grid /= stage.patch;
    const auto patches = stem(b, p, stage, channels, grid, name + "0.");
    std::vector<Offset<fb::Block>> blocks;
    for (uint32_t j = 0; j < stage.blocks; j++) {
      blocks.push_back(block(b, p, windowed, stage, grid, name + std::to_string(2 * j + 1) + ".",
                             name + std::to_string(2 * j + 2) + "."));
    }
    stages.push_back(fb::CreateStageDirect(b.fb(), fb::Stem::PatchStem, patches.Union(), &blocks));
    channels = stage.width;
  }
  parts.stages = b.fb().CreateVector(stages);

  const auto norm = b.norm("norm", channels, p.eps);
  const std::vector<Offset<fb::Linear>> layers = {b.linear("head", p.classes, channels)};
  const bool cls = p.stages.back().cls_tokens > 0 && !p.average_pool;
  parts.head_type = fb::Head::ClassifierHead;
  parts.head =
      fb::CreateClassifierHeadDirect(b.fb(), norm, cls ? fb::Pool::cls : fb::Pool::mean, false, &layers)
          .Union();
  parts.image = describe_image_input(b, p.size, p.resize);
  parts.labels = p.labels;
  return parts;
}

// The side of the image: from the configuration, else from the positions of the first stage or the grid of a
// stage with full attention.
Result<uint32_t> image_size(const Config& config, const WeightSource& source,
                            const std::vector<VilStage>& stages) {
  if (config.has("img_size")) return config.count("img_size", 1, kMaxImageSize);
  const uint64_t first = uint64_t{source.extent("layer1.0.x_pos_embed", 1)} * stages[0].patch;
  if (first > 0 && first <= kMaxImageSize) return static_cast<uint32_t>(first);
  uint64_t patch = 1;
  for (size_t i = 0; i < stages.size(); i++) {
    patch *= stages[i].patch;
    const uint32_t tokens =
        source.extent("layer" + std::to_string(i + 1) + ".1.attn.relative_position_index", 0);
    const auto grid = static_cast<uint64_t>(std::lround(std::sqrt(static_cast<double>(tokens))));
    if (!stages[i].windowed && grid > 0 && grid * patch <= kMaxImageSize)
      return static_cast<uint32_t>(grid * patch);
  }
  return config.count("img_size", 1, kMaxImageSize);  // the error that says it is missing
}

Status check_sizes(const VilParameters& p, const std::string& path) {
  uint32_t grid = p.size;
  for (const VilStage& stage : p.stages) {
    if (grid % stage.patch != 0) {
      return fail(Error::kCheckpoint, "%s: img_size %u: patches of %u do not fill %u", path.c_str(), p.size,
                  stage.patch, grid);
    }
    grid /= stage.patch;
  }
  if (p.resize < p.size) {
    return fail(Error::kCheckpoint, "%s: resize %u is smaller than the image size %u", path.c_str(), p.resize,
                p.size);
  }
  return {};
}

}  // namespace

std::vector<Array> image_golden_inputs(uint32_t size) {
  Array image{"image", DataType::kFloat32, {1, 3, size, size}, {}};
  std::vector<float> pixels;
  for (uint32_t channel = 0; channel < 3; channel++) {
    for (uint32_t y = 0; y < size; y++) {
      for (uint32_t x = 0; x < size; x++) {
        const double u = static_cast<double>(x) / size, v = static_cast<double>(y) / size;
        pixels.push_back(static_cast<float>(std::sin(9 * u + 3 * channel) + std::cos(17 * v - 5 * u) * 0.7 +
                                            std::sin(60 * u * v + channel) * 0.4));
      }
    }
  }
  image.bytes.resize(pixels.size() * sizeof(float));
  std::memcpy(image.bytes.data(), pixels.data(), image.bytes.size());
  return {image};
}

Result<std::vector<std::string>> image_labels(const FamilyOptions& options, const Config& config,
                                              uint32_t classes, const std::string& path) {
  std::vector<std::string> labels = options.labels;
  if (labels.empty()) {
    LSRT_ASSIGN(labels, config.texts("classes"));
  }
  if (!labels.empty() && labels.size() != classes) {
    return fail(Error::kCheckpoint, "%s: %zu labels, but the model has %u classes", path.c_str(),
                labels.size(), classes);
  }
  return labels;
}

Offset<fb::ImageInput> describe_image_input(ModelBuilder& b, uint32_t size, uint32_t resize) {
  const auto mean = b.fb().CreateVector(kMean, 3);
  const auto std = b.fb().CreateVector(kStd, 3);
  return fb::CreateImageInput(b.fb(), size, resize, mean, std);
}

ModelBuilder::Rows vil_qkv_rows(ModelBuilder& b, const VilStage& stage, const std::string& name) {
  return ModelBuilder::queries(name + "qkv", {3 * stage.width, stage.width}, b.has(name + "qkv.bias", true),
                               stage.width, stage.heads);
}

Offset<fb::Tensor> describe_relative_bias(ModelBuilder& b, const std::string& name, uint32_t query_side,
                                          uint32_t key_side, uint32_t heads) {
  const std::string table = name + "local_relative_position_bias_table";
  const uint32_t side = query_side + key_side - 1;
  if (!b.source().random()) b.require(table, {b.source().extent(table, 0), heads});
  return b.floats(table, {side * side, heads}, [source = b.source(), name, query_side, key_side, heads] {
    return make_relative_bias(source, name, query_side, key_side, heads);
  });
}

ModelPlan plan_vil_model(const char* title, const VilParameters& parameters, const WeightSource& source,
                         const DescribeWindowed& windowed) {
  ModelPlan plan;
  plan.family = Family::kVil;
  plan.architecture = std::string(title) + " " + std::to_string(parameters.size) + ": " +
                      vil_architecture_text(parameters.stages) + ", " + std::to_string(parameters.classes) +
                      " classes";
  plan.source = source;
  plan.describe = [parameters, windowed](ModelBuilder& builder) {
    return describe(builder, parameters, windowed);
  };
  plan.golden_inputs = [size = parameters.size] { return image_golden_inputs(size); };
  return plan;
}

Result<VilParameters> vil_parameters(const WeightSource& source, const Config& config,
                                     const FamilyOptions& options, const VilDefaults& defaults) {
  const TensorSource& checkpoint = *source.checkpoint;
  VilParameters p;
  p.stages = vil_stages_from_shapes(source);
  LSRT_ASSIGN(const std::string text, config.text("arch", ""));
  std::vector<VilStage> given;
  if (!text.empty()) {
    LSRT_ASSIGN(given, parse_vil_architecture(text));
  }
  LSRT_TRY(merge_vil_stages(given, checkpoint.path(), &p.stages));
  LSRT_ASSIGN(p.size, image_size(config, source, p.stages));
  LSRT_ASSIGN(const uint32_t crop, config.count("crop", 1, kMaxImageSize, p.size));
  if (crop != p.size) {
    return fail(Error::kCheckpoint, "%s: crop %u differs from img_size %u", checkpoint.path().c_str(), crop,
                p.size);
  }
  LSRT_ASSIGN(p.resize, config.count("resize", 1, 2 * kMaxImageSize, defaults.resize(p.size)));
  p.classes = source.extent("head.weight", 0);
  LSRT_ASSIGN(const uint32_t classes, config.count("num_classes", 1, kMaxClasses, p.classes));
  if (classes != p.classes) {
    return fail(Error::kCheckpoint, "%s: num_classes is %u, but head.weight has %u rows",
                checkpoint.path().c_str(), classes, p.classes);
  }
  if (defaults.any_eps) {
    LSRT_ASSIGN(const double eps, config.number("ln_eps", p.eps));
    p.eps = static_cast<float>(eps);
  }
  LSRT_ASSIGN(p.average_pool, config.boolean("avg_pool", false));
  LSRT_TRY(check_sizes(p, checkpoint.path()));
  LSRT_ASSIGN(p.labels, image_labels(options, config, p.classes, checkpoint.path()));
  return p;
}

}  // namespace lsrt
