#include "converter/golden.h"

#include <algorithm>

namespace lsrt {
namespace {

// The last positions of log-probabilities [1, n, vocabulary].
void keep_last(uint32_t positions, Array* array) {
  const size_t row = size_t{array->shape[2]} * sizeof(float);
  const uint32_t kept = std::min(positions, array->shape[1]);
  array->bytes.erase(array->bytes.begin(), array->bytes.end() - static_cast<std::ptrdiff_t>(kept * row));
  array->shape[1] = kept;
}

ArrayOptions run_options(uint32_t threads) {
  ArrayOptions options;
  options.threads = threads;
  return options;
}

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

Result<GoldenArrays> make_golden(const ModelPlan& plan, const std::shared_ptr<const Model>& model,
                                 uint32_t threads) {
  GoldenArrays golden;
  golden.inputs = plan.golden_inputs();
  LSRT_ASSIGN(golden.outputs, run_arrays(model, golden.inputs, run_options(threads)));
  if (plan.golden_positions > 0) keep_last(plan.golden_positions, &golden.outputs[0]);
  return golden;
}

Result<float> check_golden(const std::shared_ptr<const Model>& model, uint32_t threads) {
  return golden_difference(model, run_options(threads));
}

flatbuffers::Offset<fb::Golden> describe_golden(ModelWriter& writer, const GoldenArrays& golden) {
  flatbuffers::FlatBufferBuilder& builder = writer.builder();
  const auto inputs = describe_arrays(writer, golden.inputs);
  const auto outputs = describe_arrays(writer, golden.outputs);
  builder.ForceDefaults(true);  // so that max_difference is there to be overwritten
  const auto offset = fb::CreateGoldenDirect(builder, &inputs, &outputs, 0);
  builder.ForceDefaults(false);
  return offset;
}

uint64_t max_difference_offset(const std::vector<uint8_t>& header) {
  const fb::Golden* golden = fb::GetModel(header.data())->golden();
  const auto* table = reinterpret_cast<const flatbuffers::Table*>(golden);
  return static_cast<uint64_t>(table->GetAddressOf(fb::Golden::VT_MAX_DIFFERENCE) - header.data());
}

flatbuffers::Offset<fb::Model> describe_model(ModelWriter& writer, const std::string& family,
                                              const ModelParts& parts, const Provenance& origin,
                                              flatbuffers::Offset<fb::Golden> golden) {
  flatbuffers::FlatBufferBuilder& builder = writer.builder();
  const auto family_name = builder.CreateString(family);
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>> labels;
  if (!parts.labels.empty()) labels = builder.CreateVectorOfStrings(parts.labels);
  const auto provenance = fb::CreateProvenanceDirect(
      builder, origin.source_file.c_str(), origin.source_sha256.c_str(), origin.source_format.c_str(),
      origin.converter_version.c_str(), origin.architecture.c_str());
  return fb::CreateModel(builder, kModelFormat, family_name, parts.width, parts.stages, parts.head_type,
                         parts.head, parts.stream, parts.vocabulary, parts.sequence, parts.image, labels,
                         provenance, golden);
}

}  // namespace lsrt
