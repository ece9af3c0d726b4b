// Dilated attention: its place in a model file.
#include <algorithm>

#include "runtime/model/reader.h"

namespace lsrt {

Status ModelReader::mixer(const fb::DilatedAttention& source, const Rows& rows, DilatedAttention* mixer) {
  mixer->heads = source.heads();
  LSRT_TRY(head_dim(mixer->heads, 0, rows, &mixer->head_dim));
  const auto &segments = *source.segments(), &ratios = *source.ratios();
  LSRT_TRY(range("segments", segments.size(), 1, kMaxDilations));
  if (ratios.size() != segments.size()) {
    return wrong("ratios", "%u, but there are %u segments", ratios.size(), segments.size());
  }
  mixer->dilation_count = segments.size();
  for (uint32_t i = 0; i < segments.size(); i++) {
    LSRT_TRY(range("segments", segments[i], 1, kMaxStreamTokens));
    LSRT_TRY(range("ratios", ratios[i], 1, kMaxWidth));
    mixer->dilations[i] = {segments[i], ratios[i]};
  }
  if (std::find(ratios.begin(), ratios.end(), 1u) == ratios.end()) {
    return wrong("ratios", "none is 1: some rows would see nothing");
  }
  LSRT_TRY(linear("qkv", source.qkv(), 3 * uint64_t{rows.width}, rows.width, &mixer->qkv));
  return linear("out", source.out(), rows.width, rows.width, &mixer->out);
}

}  // namespace lsrt
