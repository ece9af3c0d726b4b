// The definition of weighted sums of rows.
#include <math.h>

#include "kernels/isa_sets.h"

namespace lsrt {
namespace scalar {
namespace {

void weighted_sum(const uint16_t* weight, size_t ld_weight, size_t rows, const int8_t* values, size_t count,
                  size_t d_head, int32_t* acc, size_t ld_acc) {
  for (size_t i = 0; i < rows; ++i) {
    for (size_t e = 0; e < d_head; ++e) {
      const int8_t* value = values + e * kPanelDepth;
      int32_t sum = acc[i * ld_acc + e];
      for (size_t t = 0; t < count; ++t) {
        const int8_t v = value[t / kPanelDepth * value_group_bytes(d_head) + t % kPanelDepth];
        sum += weight[i * ld_weight + t] * v;
      }
      acc[i * ld_acc + e] = sum;
    }
  }
}

void weighted_rows(const float* weight, size_t ld_weight, const float* x, size_t ld_x, size_t rows, size_t n,
                   size_t d, float* out, size_t ld_out) {
  for (size_t j = 0; j < n; ++j) {
    for (size_t k = 0; k < d; ++k) {
      float sum = 0;
      for (size_t t = 0; t < rows; ++t) sum = fmaf(weight[t * ld_weight + j], x[t * ld_x + k], sum);
      out[j * ld_out + k] = sum;
    }
  }
}

}  // namespace

void provide(AttentionKernels& k) {
  k.weighted_sum = weighted_sum;
  k.weighted_rows = weighted_rows;
}

}  // namespace scalar
}  // namespace lsrt
