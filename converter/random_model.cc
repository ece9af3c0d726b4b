#include "converter/random_model.h"

#include <cmath>

#include "converter/families/names_encoder.h"
#include "converter/families/names_gfnet.h"
#include "converter/families/names_lm.h"
#include "converter/families/names_longformer.h"
#include "converter/families/names_longnet.h"
#include "converter/families/names_mamba.h"
#include "converter/families/names_vil.h"
#include "converter/golden.h"
#include "runtime/version.h"

namespace lsrt {
namespace {

// A token for each byte; the others, which are never made, are as long as an English one.
BytePairVocabulary byte_vocabulary(size_t size) {
  BytePairVocabulary vocabulary;
  vocabulary.texts.assign(size, " the");
  for (size_t byte = 0; byte < 256; ++byte) vocabulary.texts[byte].assign(1, static_cast<char>(byte));
  return vocabulary;
}

Result<ModelPlan> enwik8(uint32_t layers, const RandomModelOptions& options) {
  LmParameters p;
  p.layers = layers;
  p.d = 512;
  p.heads = 8;
  p.hidden = 2048;
  p.window = 512;
  p.chunk = 16;
  p.rank = 1;
  p.block = options.block != 0 ? options.block : 256;
  p.memory = options.memory != 0 ? options.memory : 8192;
  p.pre_ln = p.gelu = true;
  p.vocabulary.resize(4);
  p.vocabulary[2] = "\n";
  for (int byte = 0; byte < 256; byte++)
    p.vocabulary.push_back(byte == '\n' ? "" : std::string(1, static_cast<char>(byte)));
  if (p.block % p.chunk != 0 || p.memory % p.chunk != 0 || p.memory < p.window) {
    return fail(Error::kArgument,
                "block %u and memory %u must be multiples of %u, and the memory at least %u", p.block,
                p.memory, p.chunk, p.window);
  }
  return plan_lm(p, WeightSource());
}

Result<VilParameters> vil_parameters(const char* architecture, uint32_t size) {
  VilParameters p;
  LSRT_ASSIGN(p.stages, parse_vil_architecture(architecture));
  p.size = size;
  p.resize = static_cast<uint32_t>(std::lround(size / 0.875));
  p.classes = 1000;
  return p;
}

Result<ModelPlan> vil(const char* architecture, uint32_t size) {
  LSRT_ASSIGN(const VilParameters p, vil_parameters(architecture, size));
  return plan_vil(p, WeightSource());
}

Result<ModelPlan> longformer(const char* architecture) {
  LongformerParameters p;
  LSRT_ASSIGN(p.vil, vil_parameters(architecture, 224));
  return plan_longformer(p, WeightSource());
}

// Layers of one stage of patches of 16, or of the stages of a pyramid.
ModelPlan gfnet(std::initializer_list<uint32_t> widths, std::initializer_list<uint32_t> layers) {
  GfnetParameters p;
  p.pyramid = widths.size() > 1;
  p.size = 224;
  p.resize = gfnet_resize(p.size);
  p.classes = 1000;
  uint32_t grid = p.size;
  for (size_t i = 0; i < widths.size(); i++) {
    const uint32_t patch = !p.pyramid ? 16 : i == 0 ? 4 : 2;
    grid /= patch;
    p.stages.push_back({widths.begin()[i], patch, grid, layers.begin()[i]});
  }
  return plan_gfnet(p, WeightSource());
}

// Sizes of state-spaces/mamba; every id has some text.
ModelPlan mamba(uint32_t layers, uint32_t d) {
  MambaParameters p;
  p.layers = layers;
  p.d = d;
  p.inner = 2 * d;
  p.states = 16;
  p.taps = 4;
  p.rank = (d + 15) / 16;
  p.vocabulary_size = 50280;
  p.vocabulary = byte_vocabulary(50277);
  return plan_mamba(p, WeightSource());
}

// Sizes of state-spaces/mamba2.
ModelPlan mamba2(uint32_t layers, uint32_t d) {
  MambaParameters p;
  p.layers = layers;
  p.d = d;
  p.inner = 2 * d;
  p.states = 128;
  p.taps = 4;
  p.heads = p.inner / 64;
  p.groups = 1;
  p.vocabulary_size = 50288;
  p.vocabulary = byte_vocabulary(50277);
  return plan_mamba(p, WeightSource());
}

// Prov-GigaPath's encoder of slides.
ModelPlan gigapath() {
  LongnetParameters p;
  p.layers = 12;
  p.d = 768;
  p.hidden = 3072;
  p.features = 1536;
  return plan_longnet(p, WeightSource());
}

ModelPlan lra(const RandomModelOptions& options) {
  EncoderParameters p;
  p.layers = 2;
  p.d = 64;
  p.heads = 2;
  p.hidden = 128;
  p.vocabulary = 512;
  p.max_length = options.max_length != 0 ? options.max_length : 4096;
  p.window = 8;
  p.rank = 32;
  p.cls = p.cls_last_layer = true;
  p.classifier_hidden = 128;
  p.classes = 10;
  return plan_encoder(p, WeightSource());
}

Result<ModelPlan> plan(const std::string& architecture, const RandomModelOptions& options) {
  if (architecture == "enwik8-base") return enwik8(12, options);
  if (architecture == "enwik8-large") return enwik8(30, options);
  if (architecture == "vil-ls-medium-224") {
    return vil(
        "l1,h3,d96,n1,s1,g1,p4,f7,a0,r8_l2,h3,d192,n4,s1,g1,p2,f7,a0,r8_l3,h6,d384,n16,s0,g1,p2,f7,a0,r8_"
        "l4,h12,d768,n1,s0,g0,p2,f7,a0,r8",
        224);
  }
  if (architecture == "vil-ls-base-224") {
    return vil(
        "l1,h3,d96,n1,s1,g1,p4,f7,a0,r8_l2,h3,d192,n8,s1,g1,p2,f7,a0,r8_l3,h6,d384,n24,s0,g1,p2,f7,a0,r8_"
        "l4,h12,d768,n1,s0,g0,p2,f7,a0,r8",
        224);
  }
  if (architecture == "vil-ls-medium-384") {
    return vil(
        "l1,h3,d96,n1,s1,g1,p4,f8,a0,r8_l2,h3,d192,n4,s1,g1,p2,f8,a0,r8_l3,h6,d384,n16,s0,g1,p2,f7,a0,r8_"
        "l4,h12,d768,n1,s0,g0,p2,f7,a0,r8",
        384);
  }
  if (architecture == "longformer-small-224") {
    return longformer(
        "l1,h3,d96,n1,s1,g1,p4,f7,a0_l2,h3,d192,n2,s1,g1,p2,f7,a0_l3,h6,d384,n8,s0,g1,p2,a0_"
        "l4,h12,d768,n1,s0,g0,p2,a0");
  }
  if (architecture == "longformer-medium-224") {
    return longformer(
        "l1,h3,d96,n1,s1,g1,p4,f7,a0_l2,h3,d192,n4,s1,g1,p2,f7,a0_l3,h6,d384,n16,s0,g1,p2,a0_"
        "l4,h12,d768,n1,s0,g0,p2,a0");
  }
  if (architecture == "gfnet-ti") return gfnet({256}, {12});
  if (architecture == "gfnet-xs") return gfnet({384}, {12});
  if (architecture == "gfnet-s") return gfnet({384}, {19});
  if (architecture == "gfnet-b") return gfnet({512}, {19});
  if (architecture == "gfnet-h-ti") return gfnet({64, 128, 256, 512}, {3, 3, 10, 3});
  if (architecture == "gfnet-h-s") return gfnet({96, 192, 384, 768}, {3, 3, 10, 3});
  if (architecture == "gfnet-h-b") return gfnet({96, 192, 384, 768}, {3, 3, 27, 3});
  if (architecture == "gigapath-slide") return gigapath();
  if (architecture == "lra") return lra(options);
  if (architecture == "mamba-130m") return mamba(24, 768);
  if (architecture == "mamba-370m") return mamba(48, 1024);
  if (architecture == "mamba-790m") return mamba(48, 1536);
  if (architecture == "mamba-1.4b") return mamba(48, 2048);
  if (architecture == "mamba-2.8b") return mamba(64, 2560);
  if (architecture == "mamba2-130m") return mamba2(24, 768);
  if (architecture == "mamba2-370m") return mamba2(48, 1024);
  if (architecture == "mamba2-780m") return mamba2(48, 1536);
  if (architecture == "mamba2-1.3b") return mamba2(48, 2048);
  if (architecture == "mamba2-2.7b") return mamba2(64, 2560);
  return fail(
      Error::kArgument,
      "architecture %s is not known; expected enwik8-base, enwik8-large, vil-ls-medium-224, vil-ls-base-224, "
      "vil-ls-medium-384, longformer-small-224, longformer-medium-224, gfnet-ti, -xs, -s, -b, -h-ti, -h-s, -h-b, gigapath-slide, lra, mamba-130m, -370m, -790m, -1.4b, -2.8b, mamba2-130m, -370m, -780m, -1.3b or -2.7b",
      architecture.c_str());
}

}  // namespace

Result<ModelBytes> random_model(const std::string& architecture, const RandomModelOptions& options) {
  LSRT_ASSIGN(const ModelPlan model, plan(architecture, options));
  return random_model(model, options.precision);
}

Result<ModelBytes> random_model(const ModelPlan& model, Precision precision) {
  Provenance origin;
  origin.source_file = "random weights";
  origin.converter_version = LSRT_VERSION;
  origin.architecture = model.architecture;
  const auto describe = [&](ModelWriter& writer) {
    ModelBuilder builder(writer, model.source, precision, nullptr);
    const ModelParts parts = model.describe(builder);
    return describe_model(writer, model.family, parts, origin, 0);
  };
  ModelBytes bytes;
  bytes.reserve(ModelWriter::file_bytes(describe));
  const auto sink = [&](const void* data, size_t size) {
    const auto* first = static_cast<const uint8_t*>(data);
    bytes.insert(bytes.end(), first, first + size);
    return Status();
  };
  LSRT_TRY(ModelWriter::write(describe, sink, [](size_t, size_t, const std::string&) { return Status(); }));
  return bytes;
}

}  // namespace lsrt
