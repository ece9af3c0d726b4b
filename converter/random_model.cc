#include "converter/random_model.h"

#include <cmath>

#include "converter/golden.h"
#include "converter/names_encoder.h"
#include "converter/names_lm.h"
#include "converter/names_vil.h"
#include "runtime/version.h"

namespace lsrt {
namespace {

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

Result<ModelPlan> vil(const char* architecture, uint32_t size) {
  VilParameters p;
  LSRT_ASSIGN(p.stages, parse_vil_architecture(architecture));
  p.size = size;
  p.resize = static_cast<uint32_t>(std::lround(size / 0.875));
  p.classes = 1000;
  return plan_vil(p, WeightSource());
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
  if (architecture == "lra") return lra(options);
  return fail(
      Error::kArgument,
      "architecture %s is not known; expected enwik8-base, enwik8-large, vil-ls-medium-224, vil-ls-base-224, "
      "vil-ls-medium-384 or lra",
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
