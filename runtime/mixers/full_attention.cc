// Full bidirectional attention: its place in a model file.
#include "runtime/model/reader.h"

namespace lsrt {

Status ModelReader::mixer(const fb::FullAttention& source, const Rows& rows, FullAttention* mixer) {
  mixer->heads = source.heads();
  LSRT_TRY(head_dim(mixer->heads, 0, rows, &mixer->head_dim));
  LSRT_TRY(range("cls rows", rows.cls_count, 0, 1));
  const uint64_t d = rows.width;
  LSRT_TRY(linear("qkv", source.qkv(), 3 * d, d, &mixer->qkv));
  LSRT_TRY(linear("out", source.out(), d, d, &mixer->out));
  LSRT_TRY(norm("norm_keys", source.norm_keys(), d, &mixer->norm_keys));
  if (source.relative_bias() != nullptr && rows.grid == 0) {
    return wrong("relative_bias", "needs a grid of patches");
  }
  const uint64_t side = 2 * uint64_t{rows.grid} - 1;
  LSRT_TRY(
      floats("relative_bias", source.relative_bias(), {side * side, mixer->heads}, &mixer->relative_bias));
  if (source.cls_bias() != nullptr && rows.cls_count == 0) return wrong("cls_bias", "needs a cls row");
  return floats("cls_bias", source.cls_bias(), {3, mixer->heads}, &mixer->cls_bias);
}

}  // namespace lsrt
