#include "runtime/device/cpu/causal_cache.h"

#include <cstring>

namespace lsrt {

// Whole groups are copied as words; a length that varies would be a call of memcpy.
int32_t write_panel_row(const int8_t* source, size_t depth, size_t row, int8_t* panels) {
  int8_t* out = panels + row / kPanelOutputs * panel_bytes(depth) + row % kPanelOutputs * kPanelDepth;
  int32_t sum = 0;
  for (size_t k = 0; k < depth; ++k) sum += source[k];
  size_t k = 0;
  for (; k + kPanelDepth <= depth; k += kPanelDepth, out += kPanelGroupBytes)
    std::memcpy(out, source + k, kPanelDepth);
  if (k < depth) std::memcpy(out, source + k, depth - k);
  return sum;
}

void read_panel_row(const int8_t* panels, size_t depth, size_t row, int8_t* out) {
  const int8_t* in = panels + row / kPanelOutputs * panel_bytes(depth) + row % kPanelOutputs * kPanelDepth;
  size_t k = 0;
  for (; k + kPanelDepth <= depth; k += kPanelDepth, in += kPanelGroupBytes)
    std::memcpy(out + k, in, kPanelDepth);
  if (k < depth) std::memcpy(out + k, in, depth - k);
}

void Int8Cache::put(size_t head, size_t row, const int8_t* key, float key_scale_of, const int8_t* value,
                    float value_scale_of) {
  key_scale[head * capacity + row] = key_scale_of;
  key_sum[head * capacity + row] = write_panel_row(key, head_dim, row, keys + head * key_bytes());
  value_scale[head * capacity + row] = value_scale_of;
  int8_t* out =
      values + head * value_bytes() + row / kPanelDepth * value_group_bytes(head_dim) + row % kPanelDepth;
  for (size_t e = 0; e < head_dim; ++e) out[e * kPanelDepth] = value[e];
}

void Int8Cache::get(size_t head, size_t row, int8_t* key, float* key_scale_of, int8_t* value,
                    float* value_scale_of) const {
  *key_scale_of = key_scale[head * capacity + row];
  read_panel_row(keys + head * key_bytes(), head_dim, row, key);
  *value_scale_of = value_scale[head * capacity + row];
  const int8_t* in =
      values + head * value_bytes() + row / kPanelDepth * value_group_bytes(head_dim) + row % kPanelDepth;
  for (size_t e = 0; e < head_dim; ++e) value[e] = in[e * kPanelDepth];
}

void Int8Cache::write(const RowKernels& kernels, size_t row, const float* key, const float* value) {
  constexpr size_t kHeads = 8;  // quantized together
  int8_t keys8[kHeads * kMaxHeadDim], values8[kHeads * kMaxHeadDim];
  float key_scales[kHeads], value_scales[kHeads];
  int32_t sums[kHeads];
  for (size_t head = 0, some; head < heads; head += some) {
    some = std::min(kHeads, heads - head);
    const size_t from = head * head_dim;
    kernels.quantize_symmetric(key + from, some, head_dim, keys8, head_dim, key_scales, sums);
    kernels.quantize_symmetric(value + from, some, head_dim, values8, head_dim, value_scales, sums);
    for (size_t i = 0; i < some; ++i)
      put(head + i, row, keys8 + i * head_dim, key_scales[i], values8 + i * head_dim, value_scales[i]);
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
