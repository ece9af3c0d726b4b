// Bidirectional long-short attention with padding masks: its place in a model file.
#include "runtime/model/reader.h"

namespace lsrt {

Status ModelReader::mixer(const fb::EncoderLongShort& source, const Rows& rows, EncoderLongShort* mixer) {
  mixer->heads = source.heads();
  mixer->window = source.window();
  mixer->rank = source.rank();
  LSRT_TRY(head_dim(mixer->heads, mixer->rank, rows, &mixer->head_dim));
  LSRT_TRY(range("window", mixer->window, 0, kMaxWindow));
  const uint64_t d = rows.width;
  LSRT_TRY(linear("qkv", source.qkv(), 3 * d + uint64_t{mixer->heads} * mixer->rank, d, &mixer->qkv));
  LSRT_TRY(linear("out", source.out(), d, d, &mixer->out));
  LSRT_TRY(norm("norm_window", source.norm_window(), d, &mixer->norm_window));
  LSRT_TRY(norm("norm_summary", source.norm_summary(), d, &mixer->norm_summary));
  if (source.convolution() == nullptr) return {};
  TensorView convolution;
  LSRT_TRY(
      tensor("convolution", source.convolution(), {mixer->heads, 0}, {DataType::kFloat32}, &convolution));
  LSRT_TRY(range("convolution kernel", convolution.shape[1], 1, kMaxWindow));
  mixer->kernel = convolution.shape[1];
  mixer->convolution = convolution.floats();
  return {};
}

}  // namespace lsrt
