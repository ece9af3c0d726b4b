#include "converter/golden.h"

#include <algorithm>
#include <cmath>

namespace lsrt {
namespace {

// The last positions of log-probabilities [1, n, vocabulary].
void keep_last(uint32_t positions, Array* array) {
  const size_t row = size_t{array->shape[2]} * sizeof(float);
  const uint32_t kept = std::min(positions, array->shape[1]);
  array->bytes.erase(array->bytes.begin(), array->bytes.end() - static_cast<std::ptrdiff_t>(kept * row));
  array->shape[1] = kept;
}

// log sum_i exp(x_i)
double log_sum_exp(const float* x, size_t n) {
  const auto largest = static_cast<double>(*std::max_element(x, x + n));
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += std::exp(static_cast<double>(x[i]) - largest);
  return largest + std::log(sum);
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

Result<OutputDifference> compare_with_golden(const std::shared_ptr<const Model>& model,
                                             const GoldenArrays& golden, uint32_t threads) {
  LSRT_ASSIGN(const std::vector<Array> outputs, run_arrays(model, golden.inputs, run_options(threads)));
  const Array& expected = golden.outputs[0];
  const size_t count = expected.elements(), width = expected.shape.back();
  // A golden of fewer positions than the input has stands for the last ones.
  const float* found = outputs[0].floats() + (outputs[0].elements() - count);
  OutputDifference difference;
  double divergence = 0;
  size_t same_top = 0;
  for (size_t i = 0; i < count; i++) {
    const float d = std::abs(found[i] - expected.floats()[i]);
    if (!(d <= difference.max)) difference.max = d;  // NaN counts as the largest
  }
  for (size_t row = 0; row < count; row += width) {
    const float* p = expected.floats() + row;
    const float* q = found + row;
    const double log_p = log_sum_exp(p, width), log_q = log_sum_exp(q, width);
    for (size_t i = 0; i < width; i++) {
      const double log_p_i = static_cast<double>(p[i]) - log_p, log_q_i = static_cast<double>(q[i]) - log_q;
      divergence += std::exp(log_p_i) * (log_p_i - log_q_i);
    }
    same_top += std::max_element(p, p + width) - p == std::max_element(q, q + width) - q ? 1 : 0;
  }
  difference.rows = count / width;
  const auto rows = static_cast<double>(difference.rows);
  difference.mean_kl = std::max(divergence / rows, 0.0);  // rounding may leave a little less than none
  difference.same_top = static_cast<double>(same_top) / rows;
  return difference;
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
