// The definition of weighted sums of int8 rows.
#include "kernels/isa_sets.h"

namespace lsrt {
namespace scalar {
namespace {

void weighted_sum(const uint16_t* weight, size_t ld_weight, size_t rows, const int8_t* values,
                  size_t panel_stride, size_t count, size_t d_head, int32_t* acc, size_t ld_acc) {
  for (size_t i = 0; i < rows; ++i) {
    for (size_t e = 0; e < d_head; ++e) {
      const int8_t* panel = values + e / kPanelOutputs * panel_stride;
      int32_t sum = acc[i * ld_acc + e];
      for (size_t t = 0; t < count; ++t) {
        const int8_t v =
            panel[(t / kPanelDepth * kPanelOutputs + e % kPanelOutputs) * kPanelDepth + t % kPanelDepth];
        sum += weight[i * ld_weight + t] * v;
      }
      acc[i * ld_acc + e] = sum;
    }
  }
}

}  // namespace

const AttentionKernels attn_kernels = {weighted_sum};

}  // namespace scalar
}  // namespace lsrt
