#include "converter/convert.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <future>

#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "base/text.h"
#include "converter/families/family.h"
#include "converter/families/names_encoder.h"
#include "converter/families/names_gfnet.h"
#include "converter/families/names_lm.h"
#include "converter/families/names_longformer.h"
#include "converter/families/names_longnet.h"
#include "converter/families/names_mamba.h"
#include "converter/families/names_vil.h"
#include "converter/golden.h"
#include "converter/sha256.h"
#include "runtime/version.h"

namespace lsrt {
namespace {

struct Layout {
  Family family;
  const char* expected;  // tensor names, for messages
  bool (*recognise)(const TensorSource&, std::string* prefix);
  Result<ModelPlan> (*plan)(const TensorSource&, const std::string& prefix, const FamilyOptions&);
};

constexpr Layout kLayouts[] = {
    {Family::kLm, "decoder.model.in_emb.weight and decoder.model.layers.0.attn.*", is_lm, plan_lm},
    {Family::kLm, "backbone.norm_f.weight and backbone.layers.0.mixer.*", is_mamba, plan_mamba},
    {Family::kEncoder, "model.embeddings.word_embeddings.weight and model.transformer_0.mha.*", is_encoder,
     plan_encoder},
    {Family::kVil, "layer1.0.proj.weight and layer1.1.attn.qkv", is_vil, plan_vil},
    {Family::kVil, "layer1.0.proj.weight and layer1.1.attn.query", is_longformer, plan_longformer},
    {Family::kVil, "pos_embed and blocks.*.filter.complex_weight", is_gfnet, plan_gfnet},
    {Family::kSlide, "patch_embed.proj.weight and encoder.layers.0.self_attn.inner_attn_ln", is_longnet,
     plan_longnet},
};

Status unknown_layout(const TensorSource& source, const std::optional<Family>& family) {
  std::string expected, found;
  for (const Layout& known : kLayouts) {
    if (family && *family != known.family) continue;
    expected += std::string(expected.empty() ? "" : "; ") + family_name(known.family) + ": " + known.expected;
  }
  for (size_t i = 0; i < source.tensors().size() && i < 4; i++) {
    found += (i == 0 ? "" : ", ") + printable(source.tensors()[i].name);
  }
  return fail(Error::kCheckpoint, "%s: the tensor names fit no %s (%s); found %s, ...", source.path().c_str(),
              family ? (std::string("model of family ") + family_name(*family)).c_str() : "known family",
              expected.c_str(), found.c_str());
}

Result<ModelPlan> plan(const TensorSource& source, const std::string& name, const FamilyOptions& options) {
  const std::optional<Family> family = family_called(name);
  if (!family && !name.empty()) {
    return fail(Error::kArgument, "family %s is not known; expected lm, encoder, vil or slide", name.c_str());
  }
  for (const Layout& known : kLayouts) {
    if (family && *family != known.family) continue;
    std::string prefix;
    if (known.recognise(source, &prefix)) return known.plan(source, prefix, options);
  }
  return unknown_layout(source, family);
}

// One a line.
std::vector<std::string> read_labels(std::string_view text) {
  std::vector<std::string> labels;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    labels.push_back(plain_text(line));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return labels;
}

Result<FamilyOptions> family_options(const ConvertOptions& options) {
  FamilyOptions result;
  if (!options.config_path.empty()) {
    LSRT_ASSIGN(const MappedFile file, MappedFile::open(options.config_path));
    LSRT_TRY(result.config.add_text({options.config_path, file.data(), file.size()}));
  }
  if (!options.labels_path.empty()) {
    LSRT_ASSIGN(const MappedFile file, MappedFile::open(options.labels_path));
    result.labels = read_labels(Bytes{options.labels_path, file.data(), file.size()}.text());
  }
  result.dict_path = options.dict_path;
  result.tokenizer_path = options.tokenizer_path;
  result.block = options.block;
  result.memory = options.memory;
  return result;
}

// Of all files, which are mapped, one after the other. Ends early, with any text, when it is told to stop.
std::string sha256_of(const std::vector<Bytes>& files, const std::atomic<bool>& stop) {
  Sha256 hash;
  constexpr size_t kPiece = 1 << 24;
  for (const Bytes& file : files) {
    for (size_t at = 0; at < file.size && !stop; at += kPiece) {
      const size_t size = std::min(kPiece, file.size - at);
      hash.update(file.data + at, size);
      forget_mapped(file.data + at, size);
    }
  }
  return hash.finish();
}

// One conversion: a model may be written twice, in float32 to compute the golden outputs and in its final
// precision.
class Conversion {
 public:
  Conversion(const TensorSource& source, const ModelPlan& plan, const ConvertOptions& options)
      : source_(source), plan_(plan), options_(options) {
    origin_.source_file = plain_text(source.path().substr(source.path().rfind('/') + 1));
    origin_.source_format = source.format();
    origin_.converter_version = LSRT_VERSION;
    origin_.architecture = plain_text(plan.architecture);
    // Runs beside the reference, which goes without it; later where there may be no second thread, or is
    // none.
    const std::launch when =
        options.threads == 1 ? std::launch::deferred : std::launch::async | std::launch::deferred;
    sha256_ = std::async(when, [this] { return sha256_of(source_.files(), stop_); });
  }

  ~Conversion() { stop_ = true; }  // sha256_ waits

  Status run(const std::string& output_path, AtomicFile output, ConvertReport* report) {
    GoldenArrays golden;
    if (options_.golden) {
      // Never committed, so it goes when this block ends.
      LSRT_ASSIGN(AtomicFile reference, AtomicFile::open(output_path));
      LSRT_TRY(write(Precision::kFloat32, nullptr, &reference, nullptr));
      LSRT_ASSIGN(const std::shared_ptr<const Model> model, load_written(reference, Placement::kMapped));
      LSRT_ASSIGN(golden, make_golden(plan_, model, check_options()));
      pass_++;
    }
    origin_.source_sha256 = sha256_.get();
    LSRT_TRY(write(options_.precision, options_.golden ? &golden : nullptr, &output, report));
    LSRT_ASSIGN(const std::shared_ptr<const Model> model, load_written(output, Placement::kMemory));
    if (options_.golden) {
      LSRT_ASSIGN(const std::shared_ptr<Backend> backend, check_backend(model));
      LSRT_ASSIGN(report->golden, check_golden(backend, check_options()));
      if (!std::isfinite(report->golden.max_difference)) {
        return fail(
            Error::kCheckpoint,
            "%s: the outputs of the stored check are not all finite numbers: weights too large to compute "
            "with; --no-golden converts without the check",
            source_.path().c_str());
      }
      const GoldenCheck& check = report->golden;
      LSRT_TRY(output.overwrite(golden_offset(header_, fb::Golden::VT_MAX_DIFFERENCE), &check.max_difference,
                                sizeof check.max_difference));
      if (model->is_int8()) {
        LSRT_TRY(output.overwrite(golden_offset(header_, fb::Golden::VT_DIGEST), &check.digest,
                                  sizeof check.digest));
      }
    }
    report->output_bytes = model->file_bytes();
    return output.commit();
  }

 private:
  static constexpr const char* kChecking = "checking the outputs";

  size_t passes() const { return options_.golden ? 2 : 1; }

  // Whether to go on, asked before each step: `done` of `total` tensors of this pass are written.
  bool step(size_t done, size_t total, const std::string& what) const {
    return !options_.progress || options_.progress(pass_ * total + done, passes() * total, what);
  }

  ArrayOptions check_options() const {
    ArrayOptions options;
    options.threads = options_.threads;
    options.go_on = [this] { return step(tensors_, tensors_, kChecking); };
    return options;
  }

  // The loader's checks, before the file counts.
  Result<std::shared_ptr<const Model>> load_written(const AtomicFile& file, Placement placement) const {
    Result<std::shared_ptr<const Model>> model = Model::load(file.temporary_path(), placement);
    if (model.ok() || model.status().code() != Error::kModel) return model;
    return fail(Error::kCheckpoint, "%s: makes no valid model: %s", source_.path().c_str(),
                model.status().message().c_str());
  }

  Status write(Precision precision, const GoldenArrays* golden, AtomicFile* file, ConvertReport* report) {
    const auto describe = [&](ModelWriter& writer) { return root(writer, precision, golden, report); };
    const auto sink = [&](const void* data, size_t size) { return file->write(data, size); };
    const auto progress = [&](size_t done, size_t total, const std::string& name) {
      tensors_ = total;
      if (step(done, total, done == total ? kChecking : name)) return Status();
      return Status(Error::kCancelled, "cancelled");
    };
    return ModelWriter::write(describe, sink, progress, &header_);
  }

  flatbuffers::Offset<fb::Model> root(ModelWriter& writer, Precision precision, const GoldenArrays* golden,
                                      ConvertReport* report) {
    ModelBuilder builder(writer, plan_.source, precision, report != nullptr ? &report->tensors : nullptr,
                         options_.threads);
    const ModelParts parts = plan_.describe(builder);
    builder.require_all_used();
    if (report != nullptr) report->parameters = builder.parameters();
    const auto stored_golden = golden != nullptr ? describe_golden(writer, *golden) : 0;
    return describe_model(writer, plan_.family, parts, origin_, stored_golden);
  }

  const TensorSource& source_;
  const ModelPlan& plan_;
  const ConvertOptions& options_;
  Provenance origin_;
  std::atomic<bool> stop_{false};
  std::future<std::string> sha256_;
  std::vector<uint8_t> header_;  // of the last write
  size_t pass_ = 0;
  size_t tensors_ = 0;  // of a pass
};

}  // namespace

Result<ConvertReport> convert(const std::string& source_path, const std::string& output_path,
                              const ConvertOptions& options) {
  LSRT_ASSIGN(const FamilyOptions family_option, family_options(options));
  LSRT_ASSIGN(const std::unique_ptr<TensorSource> source, TensorSource::open(source_path));
  LSRT_ASSIGN(const ModelPlan model, plan(*source, options.family, family_option));
  LSRT_ASSIGN(AtomicFile output, AtomicFile::open(output_path));
  ConvertReport report;
  report.source = source_path;
  report.output = output_path;
  report.family = model.family;
  report.architecture = model.architecture;
  report.remarks = model.remarks;
  report.precision = options.precision;
  for (const Bytes& file : source->files()) report.source_bytes += file.size;
  const Status status = Conversion(*source, model, options).run(output_path, std::move(output), &report);
  if (status.code() == Error::kCancelled) {
    return fail(Error::kCancelled, "%s: the conversion was cancelled", source_path.c_str());
  }
  LSRT_TRY(status);
  return report;
}

}  // namespace lsrt
