#include "converter/families/names_gfnet.h"

#include <cmath>

#include "base/exact_math.h"
#include "runtime/model/reader.h"

namespace lsrt {
namespace {

using flatbuffers::Offset;

constexpr float kEps = 1e-6f;  // of all norms
constexpr uint32_t kHiddenTimes = 4;

std::string patch_name(bool pyramid, size_t stage) {
  return "patch_embed." + (pyramid ? std::to_string(stage) + "." : "") + "proj";
}
std::string block_name(bool pyramid, size_t stage, size_t block) {
  return "blocks." + (pyramid ? std::to_string(stage) + "." : "") + std::to_string(block) + ".";
}

// kernel [width, n, n] of the authors' weights [n, n / 2 + 1, width, 2] in the frequencies of a real grid:
//   kernel[r, s] = 1 / n^2 sum over kx of t Re(e^(2 pi i kx s / n) sum over ky of w[ky, kx] e^(2 pi i ky r /
//   n))
// with t = 2, but 1 for kx = 0 and kx = n / 2, which a spectrum has once. Only the Hermitian half of these
// two columns' weights acts: the other half of their inner sum is imaginary, and goes with the real part.
Result<std::vector<float>> make_kernel(const WeightSource& source, const std::string& name, uint32_t n,
                                       uint32_t width) {
  const size_t frequencies = n / 2 + 1;
  LSRT_ASSIGN(const std::vector<float> weights,
              source.read(name, {n, static_cast<uint32_t>(frequencies), width, 2}));
  std::vector<UnitRoot> roots;
  for (size_t i = 0; i < n; i++) roots.push_back(exact_root(i, n));
  std::vector<float> kernel(size_t{width} * n * n);
  std::vector<double> re(n * frequencies), im(n * frequencies);  // of the inner sums
  for (size_t c = 0; c < width; c++) {
    for (size_t r = 0; r < n; r++) {
      for (size_t kx = 0; kx < frequencies; kx++) {
        double sum_re = 0, sum_im = 0;
        for (size_t ky = 0; ky < n; ky++) {
          const float* w = &weights[2 * ((ky * frequencies + kx) * width + c)];
          const UnitRoot root = roots[ky * r % n];
          sum_re += w[0] * root.re - w[1] * root.im;
          sum_im += w[0] * root.im + w[1] * root.re;
        }
        const double times = kx == 0 || 2 * kx == n ? 1 : 2;
        re[r * frequencies + kx] = times * sum_re, im[r * frequencies + kx] = times * sum_im;
      }
    }
    for (size_t r = 0; r < n; r++) {
      for (size_t s = 0; s < n; s++) {
        double sum = 0;
        for (size_t kx = 0; kx < frequencies; kx++) {
          const UnitRoot root = roots[kx * s % n];
          sum += re[r * frequencies + kx] * root.re - im[r * frequencies + kx] * root.im;
        }
        const auto value = static_cast<float>(sum / (static_cast<double>(n) * n));
        if (!std::isfinite(value)) {
          return fail(Error::kCheckpoint, "%s: tensor %s%s: its filter is not finite",
                      source.checkpoint->path().c_str(), source.prefix.c_str(), name.c_str());
        }
        kernel[(c * n + r) * n + s] = value;
      }
    }
  }
  return kernel;
}

// x + gamma * fc2 GELU(fc1 norm2 filter(norm1 x)): gamma is part of fc2.
Offset<fb::Block> block(ModelBuilder& b, const GfnetParameters::Stage& stage, const std::string& name) {
  const uint32_t d = stage.width, n = stage.grid;
  const uint32_t hidden =
      b.source().random() ? kHiddenTimes * d : b.source().extent(name + "mlp.fc1.weight", 0);
  const auto norm1 = b.norm(name + "norm1", d, kEps);
  const std::string weights = name + "filter.complex_weight";
  if (!b.source().random()) b.require(weights, {n, n / 2 + 1, d, 2});
  const auto kernel = b.floats(name + "filter.kernel", {d, n, n}, [source = b.source(), weights, n, d] {
    return make_kernel(source, weights, n, d);
  });
  const auto mixer = fb::CreateGlobalFilter(b.fb(), kernel);
  const auto norm2 = b.norm(name + "norm2", d, kEps);
  const auto fc1 = b.linear(name + "mlp.fc1", hidden, d);
  ModelBuilder::Rows rows{name + "mlp.fc2", {d, hidden}};
  if (b.has(name + "gamma", false)) rows.gains = name + "gamma";
  const auto feed_forward = fb::CreateFeedForward(b.fb(), fc1, b.linear(rows.name, {rows}));
  return fb::CreateBlock(b.fb(), norm1, fb::Mixer::GlobalFilter, mixer.Union(), norm2, feed_forward,
                         fb::Residual::single);
}

ModelParts describe(ModelBuilder& b, const GfnetParameters& p) {
  ModelParts parts;
  parts.width = p.stages[0].width;
  std::vector<Offset<fb::Stage>> stages;
  uint32_t channels = 3;
  for (size_t i = 0; i < p.stages.size(); i++) {
    const GfnetParameters::Stage& stage = p.stages[i];
    const std::string name = patch_name(p.pyramid, i);
    const auto projection = b.linear(name, {{name, {stage.width, channels, stage.patch, stage.patch}}});
    Offset<fb::Tensor> positions;
    if (i == 0) positions = b.floats("pos_embed", {stage.grid * stage.grid, stage.width});
    const auto stem =
        fb::CreatePatchStem(b.fb(), stage.patch, stage.grid, channels, projection, 0, 0, positions);
    std::vector<Offset<fb::Block>> blocks;
    for (uint32_t j = 0; j < stage.blocks; j++) {
      blocks.push_back(block(b, stage, block_name(p.pyramid, i, j)));
    }
    stages.push_back(fb::CreateStageDirect(b.fb(), fb::Stem::PatchStem, stem.Union(), &blocks));
    channels = stage.width;
  }
  parts.stages = b.fb().CreateVector(stages);
  const auto norm = b.norm("norm", channels, kEps);
  const std::vector<Offset<fb::Linear>> layers = {b.linear("head", p.classes, channels)};
  parts.head_type = fb::Head::ClassifierHead;
  parts.head = fb::CreateClassifierHeadDirect(b.fb(), norm, fb::Pool::mean, false, &layers).Union();
  parts.image = describe_image_input(b, p.size, p.resize);
  parts.labels = p.labels;
  return parts;
}

std::string architecture(const GfnetParameters& p) {
  std::string text = std::string(p.pyramid ? "GFNet pyramid " : "GFNet ") + std::to_string(p.size) + ": ";
  for (const GfnetParameters::Stage& stage : p.stages) {
    text += "d" + std::to_string(stage.width) + ",n" + std::to_string(stage.blocks) + ",p" +
            std::to_string(stage.patch) + "_";
  }
  text.back() = ',';
  return text + " " + std::to_string(p.classes) + " classes";
}

// Stage i as the shapes tell it.
Result<GfnetParameters::Stage> stage_from_shapes(const WeightSource& source, bool pyramid, size_t i) {
  const std::string patch = patch_name(pyramid, i) + ".weight",
                    filter = block_name(pyramid, i, 0) + "filter.complex_weight";
  GfnetParameters::Stage stage{source.extent(patch, 0), source.extent(patch, 2), source.extent(filter, 0), 0};
  const auto wrong = [&](const std::string& tensor, const char* what) {
    return fail(Error::kCheckpoint, "%s: tensor %s%s: %s", source.checkpoint->path().c_str(),
                source.prefix.c_str(), tensor.c_str(), what);
  };
  if (stage.patch < 1 || stage.patch > kMaxPatch) return wrong(patch, "no patches of 1 to 256 pixels");
  if (stage.grid < 1 || stage.grid > kMaxFilterGrid)
    return wrong(filter, "is no filter of a grid of 1 to 256");
  while (stage.blocks < kMaxBlocks &&
         source.find(block_name(pyramid, i, stage.blocks) + "filter.complex_weight")) {
    stage.blocks++;
  }
  return stage;
}

}  // namespace

uint32_t gfnet_resize(uint32_t size) { return static_cast<uint32_t>(uint64_t{size} * 256 / 224); }

bool is_gfnet(const TensorSource& source, std::string* prefix) {
  return find_prefix(source, "pos_embed",
                     {"blocks.0.filter.complex_weight", "blocks.0.0.filter.complex_weight"}, prefix);
}

ModelPlan plan_gfnet(const GfnetParameters& parameters, const WeightSource& source) {
  ModelPlan plan;
  plan.family = Family::kVil;
  plan.architecture = architecture(parameters);
  plan.source = source;
  plan.describe = [parameters](ModelBuilder& builder) { return describe(builder, parameters); };
  plan.golden_inputs = [size = parameters.size] { return image_golden_inputs(size); };
  return plan;
}

Result<ModelPlan> plan_gfnet(const TensorSource& checkpoint, const std::string& prefix,
                             const FamilyOptions& options) {
  const WeightSource source{&checkpoint, prefix};
  Config config = options.config;
  config.add(checkpoint.metadata(), checkpoint.path());
  GfnetParameters p;
  p.pyramid = source.find(patch_name(true, 0) + ".weight") != nullptr;
  for (size_t i = 0; i == 0 || (p.pyramid && source.find(patch_name(true, i) + ".weight")); i++) {
    LSRT_ASSIGN(const GfnetParameters::Stage stage, stage_from_shapes(source, p.pyramid, i));
    p.stages.push_back(stage);
  }
  p.size = p.stages[0].grid * p.stages[0].patch;
  LSRT_ASSIGN(p.resize, config.count("resize", p.size, 2 * kMaxImageSize, gfnet_resize(p.size)));
  p.classes = source.extent("head.weight", 0);
  LSRT_ASSIGN(p.labels, image_labels(options, config, p.classes, checkpoint.path()));
  return plan_gfnet(p, source);
}

}  // namespace lsrt
