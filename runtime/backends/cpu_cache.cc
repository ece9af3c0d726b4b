#include "runtime/backends/cpu_cache.h"

#include <cstring>

namespace lsrt {

int32_t write_panel_row(const int8_t* source, size_t depth, size_t row, int8_t* panels) {
  constexpr size_t kGroup = kPanelOutputs * kPanelDepth;
  int8_t* out = panels + row / kPanelOutputs * panel_bytes(depth) + row % kPanelOutputs * kPanelDepth;
  int32_t sum = 0;
  for (size_t k = 0; k < depth; k += kPanelDepth, out += kGroup) {
    std::memcpy(out, source + k, std::min(kPanelDepth, depth - k));
  }
  for (size_t k = 0; k < depth; ++k) sum += source[k];
  return sum;
}

void Int8Cache::write(const RowKernels& kernels, size_t row, const float* key, const float* value) {
  int8_t quantized[kMaxHeadDim];
  for (size_t head = 0; head < heads; ++head) {
    key_scale[head * capacity + row] = kernels.quantize_symmetric(key + head * head_dim, head_dim, quantized);
    key_sum[head * capacity + row] = write_panel_row(quantized, head_dim, row, keys + head * key_bytes());

    value_scale[head * capacity + row] =
        kernels.quantize_symmetric(value + head * head_dim, head_dim, quantized);
    int8_t* out =
        values + head * value_bytes() + row / kPanelDepth * (kPanelOutputs * kPanelDepth) + row % kPanelDepth;
    for (size_t e = 0; e < head_dim; ++e) {
      out[e / kPanelOutputs * value_panel_stride() + e % kPanelOutputs * kPanelDepth] = quantized[e];
    }
  }
}

void FloatCache::write(const RowKernels&, size_t row, const float* key, const float* value) {
  for (size_t head = 0; head < heads; ++head) {
    size_t at = (head * capacity + row) * head_dim;
    std::memcpy(keys + at, key + head * head_dim, head_dim * sizeof(float));
    std::memcpy(values + at, value + head * head_dim, head_dim * sizeof(float));
  }
}

}  // namespace lsrt
