// Two-dimensional long-short attention of one grid: its place in a model file.
#include "runtime/model/reader.h"

namespace lsrt {

Status ModelReader::mixer(const fb::VisionLongShort& source, const Rows& rows, VisionLongShort* mixer) {
  mixer->heads = source.heads();
  mixer->window = source.window();
  mixer->rank = source.rank();
  LSRT_TRY(head_dim(mixer->heads, mixer->rank, rows, &mixer->head_dim));
  LSRT_TRY(range("window", mixer->window, 1, kMaxVisionWindow));
  LSRT_TRY(range("cls rows", rows.cls_count, 0, 1));
  const uint64_t d = rows.width;
  LSRT_TRY(linear("qkv", source.qkv(), 3 * d + uint64_t{mixer->heads} * mixer->rank, d, &mixer->qkv));
  LSRT_TRY(linear("out", source.out(), d, d, &mixer->out));
  LSRT_TRY(norm("norm_window", source.norm_window(), d, &mixer->norm_window));
  if (mixer->rank > 0) {
    if (source.norm_summary() == nullptr) return wrong("norm_summary", "is missing");
    LSRT_TRY(norm("norm_summary", source.norm_summary(), d, &mixer->norm_summary));
  }
  const uint64_t reach = mixer->window - 1 + mixer->margin();
  return floats("relative_bias", source.relative_bias(), {(2 * reach + 1) * (2 * reach + 1), mixer->heads},
                &mixer->relative_bias);
}

}  // namespace lsrt
