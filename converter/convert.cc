#include "converter/convert.h"

#include <cstring>

#include "converter/family.h"
#include "converter/golden.h"
#include "converter/names_encoder.h"
#include "converter/names_lm.h"
#include "converter/names_vil.h"
#include "converter/sha256.h"
#include "converter/source_text.h"
#include "runtime/atomic_file.h"
#include "runtime/mapped_file.h"
#include "runtime/version.h"

namespace lsrt {
namespace {

struct Family {
  const char* name;
  const char* expected;  // tensor names, for messages
  bool (*recognise)(const TensorSource&, std::string* prefix);
  Result<ModelPlan> (*plan)(const TensorSource&, const std::string& prefix, const FamilyOptions&);
};

constexpr Family kFamilies[] = {
    {"lm", "decoder.model.in_emb.weight and decoder.model.layers.0.attn.*", is_lm, plan_lm},
    {"encoder", "model.embeddings.word_embeddings.weight and model.transformer_0.mha.*", is_encoder,
     plan_encoder},
    {"vil", "layer1.0.proj.weight and layer1.1.attn.*", is_vil, plan_vil},
};

Status unknown_family(const TensorSource& source, const std::string& family) {
  std::string expected, found;
  for (const Family& known : kFamilies) {
    if (!family.empty() && family != known.name) continue;
    expected += std::string(expected.empty() ? "" : "; ") + known.name + ": " + known.expected;
  }
  for (size_t i = 0; i < source.tensors().size() && i < 4; i++) {
    found += (i == 0 ? "" : ", ") + printable(source.tensors()[i].name);
  }
  return fail(Error::kCheckpoint, "%s: the tensor names fit no %s (%s); found %s, ...", source.path().c_str(),
              family.empty() ? "known family" : ("model of family " + family).c_str(), expected.c_str(),
              found.c_str());
}

Result<ModelPlan> plan(const TensorSource& source, const std::string& family, const FamilyOptions& options) {
  bool is_known = family.empty();
  for (const Family& known : kFamilies) {
    if (!family.empty() && family != known.name) continue;
    is_known = true;
    std::string prefix;
    if (known.recognise(source, &prefix)) return known.plan(source, prefix, options);
  }
  if (!is_known) {
    return fail(Error::kArgument, "family %s is not known; expected lm, encoder or vil", family.c_str());
  }
  return unknown_family(source, family);
}

Result<std::vector<std::string>> read_labels(const std::string& path) {
  std::vector<std::string> labels;
  if (path.empty()) return labels;
  LSRT_ASSIGN(const MappedFile file, MappedFile::open(path));
  std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    labels.push_back(to_utf8(line));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return labels;
}

Result<FamilyOptions> family_options(const ConvertOptions& options) {
  FamilyOptions result;
  if (!options.config_path.empty()) LSRT_TRY(result.config.add_file(options.config_path));
  result.dict_path = options.dict_path;
  result.block = options.block;
  result.memory = options.memory;
  LSRT_ASSIGN(result.labels, read_labels(options.labels_path));
  return result;
}

// One conversion: a model may be written twice, in float32 to compute the golden outputs and in its final
// precision.
class Conversion {
 public:
  Conversion(const TensorSource& source, const ModelPlan& plan, const ConvertOptions& options)
      : source_(source), plan_(plan), options_(options) {
    origin_.source_file = source.path().substr(source.path().rfind('/') + 1);
    origin_.source_sha256 = sha256_hex(source.file().data(), source.file().size());
    origin_.source_format = source.format();
    origin_.converter_version = LSRT_VERSION;
    origin_.architecture = plan.architecture;
  }

  Status run(const std::string& output_path, AtomicFile output, ConvertReport* report) {
    GoldenArrays golden;
    if (options_.golden) {
      // Never committed, so it goes when this block ends.
      LSRT_ASSIGN(AtomicFile reference, AtomicFile::open(output_path));
      LSRT_TRY(write(Precision::kFloat32, nullptr, &reference, nullptr));
      LSRT_ASSIGN(const std::shared_ptr<const Model> model, load_written(reference));
      LSRT_ASSIGN(golden, make_golden(plan_, model, options_.threads));
      pass_++;
    }
    LSRT_TRY(write(options_.precision, options_.golden ? &golden : nullptr, &output, report));
    LSRT_ASSIGN(const std::shared_ptr<const Model> model, load_written(output));
    if (options_.golden) {
      LSRT_ASSIGN(report->difference, compare_with_golden(model, golden, options_.threads));
      const uint64_t offset = max_difference_offset(header_);
      LSRT_TRY(output.overwrite(offset, &report->difference.max, sizeof report->difference.max));
    }
    report->output_bytes = model->file_bytes();
    return output.commit();
  }

 private:
  // The loader's checks, before the file counts.
  Result<std::shared_ptr<const Model>> load_written(const AtomicFile& file) const {
    Result<std::shared_ptr<const Model>> model = Model::load(file.temporary_path());
    if (model.ok() || model.status().code() != Error::kModel) return model;
    return fail(Error::kCheckpoint, "%s: makes no valid model: %s", source_.path().c_str(),
                model.status().message().c_str());
  }

  Status write(Precision precision, const GoldenArrays* golden, AtomicFile* file, ConvertReport* report) {
    const auto describe = [&](ModelWriter& writer) { return root(writer, precision, golden, report); };
    const auto sink = [&](const void* data, size_t size) { return file->write(data, size); };
    const size_t passes = options_.golden ? 2 : 1;
    const auto progress = [&](size_t done, size_t total, const std::string& name) {
      const std::string what = done == total ? "checking the outputs" : name;
      if (!options_.progress || options_.progress(pass_ * total + done, passes * total, what))
        return Status();
      return fail(Error::kCancelled, "%s: the conversion was cancelled", source_.path().c_str());
    };
    return ModelWriter::write(describe, sink, progress, &header_);
  }

  flatbuffers::Offset<fb::Model> root(ModelWriter& writer, Precision precision, const GoldenArrays* golden,
                                      ConvertReport* report) {
    ModelBuilder builder(writer, plan_.source, precision, report != nullptr ? &report->tensors : nullptr);
    const ModelParts parts = plan_.describe(builder);
    builder.require_all_used(plan_.ignored);
    if (report != nullptr) report->parameters = builder.parameters();
    const auto stored_golden = golden != nullptr ? describe_golden(writer, *golden) : 0;
    return describe_model(writer, plan_.family, parts, origin_, stored_golden);
  }

  const TensorSource& source_;
  const ModelPlan& plan_;
  const ConvertOptions& options_;
  Provenance origin_;
  std::vector<uint8_t> header_;  // of the last write
  size_t pass_ = 0;
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
  report.precision = options.precision;
  report.source_bytes = source->file().size();
  LSRT_TRY(Conversion(*source, model, options).run(output_path, std::move(output), &report));
  return report;
}

}  // namespace lsrt
