#include "converter/golden.h"

#include <algorithm>

namespace lsrt {
namespace {

std::vector<flatbuffers::Offset<fb::Tensor>> describe_arrays(ModelWriter& writer,
                                                             const std::vector<Array>& arrays) {
  std::vector<flatbuffers::Offset<fb::Tensor>> tensors;
  for (const Array& array : arrays) {
    tensors.push_back(writer.tensor(array.name, array.type, array.shape, [&array]() -> Result<TensorBytes> {
      return TensorBytes{array.bytes, {}, {}};
    }));
  }
  return tensors;
}

}  // namespace

Result<std::shared_ptr<Backend>> check_backend(const std::shared_ptr<const Model>& model) {
  BackendOptions options;
  options.keep_weights = false;  // the model may be larger than the memory
  LSRT_ASSIGN(std::shared_ptr<Backend> backend, Backend::create(options, model));
  return backend;
}

Result<GoldenArrays> make_golden(const ModelPlan& plan, const std::shared_ptr<const Model>& model,
                                 const ArrayOptions& options) {
  GoldenArrays golden;
  golden.inputs = plan.golden_inputs();
  LSRT_ASSIGN(const std::shared_ptr<Backend> backend, check_backend(model));
  ArrayOptions run = options;
  run.positions = plan.golden_positions;
  LSRT_ASSIGN(golden.outputs, run_arrays(backend, golden.inputs, run));
  return golden;
}

flatbuffers::Offset<fb::Golden> describe_golden(ModelWriter& writer, const GoldenArrays& golden) {
  flatbuffers::FlatBufferBuilder& builder = writer.builder();
  const auto inputs = describe_arrays(writer, golden.inputs);
  const auto outputs = describe_arrays(writer, golden.outputs);
  builder.ForceDefaults(true);  // so that the numbers are there to be overwritten
  const auto offset = fb::CreateGoldenDirect(builder, &inputs, &outputs, 0, 0);
  builder.ForceDefaults(false);
  return offset;
}

uint64_t golden_offset(const std::vector<uint8_t>& header, flatbuffers::voffset_t field) {
  const fb::Golden* golden = fb::GetModel(header.data())->golden();
  const auto* table = reinterpret_cast<const flatbuffers::Table*>(golden);
  return static_cast<uint64_t>(table->GetAddressOf(field) - header.data());
}

flatbuffers::Offset<fb::Model> describe_model(ModelWriter& writer, Family family, const ModelParts& parts,
                                              const Provenance& origin,
                                              flatbuffers::Offset<fb::Golden> golden) {
  flatbuffers::FlatBufferBuilder& builder = writer.builder();
  const auto name = builder.CreateString(family_name(family));
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>> labels;
  if (!parts.labels.empty()) labels = builder.CreateVectorOfStrings(parts.labels);
  const auto provenance = fb::CreateProvenanceDirect(
      builder, origin.source_file.c_str(), origin.source_sha256.c_str(), origin.source_format.c_str(),
      origin.converter_version.c_str(), origin.architecture.c_str());
  return fb::CreateModel(builder, parts.format, name, parts.width, parts.stages, parts.head_type, parts.head,
                         parts.stream, parts.vocabulary, parts.sequence, parts.image, labels, provenance,
                         golden);
}

}  // namespace lsrt
