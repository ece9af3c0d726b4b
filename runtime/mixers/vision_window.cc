// Windows of one grid with global rows: their place in a model file.
#include "runtime/model/reader.h"

namespace lsrt {

Status ModelReader::mixer(const fb::VisionWindow& source, const Rows& rows, VisionWindow* mixer) {
  mixer->heads = source.heads();
  mixer->window = source.window();
  mixer->margin = source.margin();
  LSRT_TRY(head_dim(mixer->heads, 0, rows, &mixer->head_dim));
  LSRT_TRY(range("window", mixer->window, 1, kMaxVisionWindow));
  LSRT_TRY(range("margin", mixer->margin, 0, mixer->window));
  LSRT_TRY(range("edge", static_cast<uint64_t>(source.edge()), 0, static_cast<uint64_t>(WindowEdge::kTorus)));
  mixer->edge = static_cast<WindowEdge>(source.edge());
  const uint64_t d = rows.width;
  LSRT_TRY(linear("qkv", source.qkv(), 3 * d, d, &mixer->qkv));
  LSRT_TRY(linear("out", source.out(), d, d, &mixer->out));
  const uint64_t reach = mixer->window - 1 + mixer->margin;
  LSRT_TRY(floats("relative_bias", source.relative_bias(), {(2 * reach + 1) * (2 * reach + 1), mixer->heads},
                  &mixer->relative_bias));
  if ((source.global_qkv() == nullptr) != (source.global_out() == nullptr)) {
    return wrong("global_qkv, global_out", "one of them is missing");
  }
  if ((source.global_bias() == nullptr) != (source.global_global_bias() == nullptr)) {
    return wrong("global_bias, global_global_bias", "one of them is missing");
  }
  const uint64_t globals = rows.cls_count;
  if (globals == 0 && (source.global_qkv() != nullptr || source.global_bias() != nullptr)) {
    return wrong("global_qkv, global_bias", "need cls rows");
  }
  if (source.global_qkv() != nullptr) {
    LSRT_TRY(linear("global_qkv", source.global_qkv(), 3 * d, d, &mixer->global_qkv));
    LSRT_TRY(linear("global_out", source.global_out(), d, d, &mixer->global_out));
  }
  LSRT_TRY(floats("global_bias", source.global_bias(), {2, mixer->heads, globals}, &mixer->global_bias));
  return floats("global_global_bias", source.global_global_bias(), {mixer->heads, globals, globals},
                &mixer->global_global_bias);
}

}  // namespace lsrt
