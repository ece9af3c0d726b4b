// Weighted sums for ARM with dot product instructions. Of int8 rows: a 14-bit weight is 128 * high + low, two
// int8 of 7 bits.
#include <arm_neon.h>
#include <string.h>

#include "kernels/isa_sets.h"
#include "kernels/simd/vec_neondot.h"
#include "kernels/simd/weighted_rows.h"

namespace lsrt {
namespace neondot {
namespace {

struct SplitWeights {
  int8x16_t high, low;
};

// The weights of `groups` groups, at most 4.
inline SplitWeights load_weights(const uint16_t* weight, size_t groups) {
  uint16_t buffer[16] = {};
  if (groups < 4) {
    memcpy(buffer, weight, groups * kPanelDepth * sizeof(uint16_t));
    weight = buffer;
  }
  const uint16x8_t a = vld1q_u16(weight), b = vld1q_u16(weight + 8);
  const uint8x16_t high = vcombine_u8(vshrn_n_u16(a, 7), vshrn_n_u16(b, 7));
  const uint8x16_t low = vandq_u8(vcombine_u8(vmovn_u16(a), vmovn_u16(b)), vdupq_n_u8(127));
  return {vreinterpretq_s8_u8(high), vreinterpretq_s8_u8(low)};
}

// Adds the group v, 4 value rows of 16 elements, with the weights in lane kLane.
template <size_t kRows, int kLane>
inline __attribute__((always_inline)) void add_group(const SplitWeights (&w)[kRows], const int8_t* v,
                                                     int32x4_t (&high)[kRows][4],
                                                     int32x4_t (&low)[kRows][4]) {
#pragma GCC unroll 4
  for (size_t j = 0; j < 4; ++j) {
    const int8x16_t values = vld1q_s8(v + 16 * j);
#pragma GCC unroll 2
    for (size_t r = 0; r < kRows; ++r) {
      high[r][j] = vdotq_laneq_s32(high[r][j], values, w[r].high, kLane);
      low[r][j] = vdotq_laneq_s32(low[r][j], values, w[r].low, kLane);
    }
  }
}

template <size_t kRows>
void tile(const Sums& s, size_t row, size_t panel) {
  const uint16_t* weight = s.weight + row * s.ld_weight;
  const int8_t* v = s.values + panel * kPanelOutputs * kPanelDepth;
  int32x4_t high[kRows][4], low[kRows][4];
#pragma GCC unroll 2
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) high[r][j] = low[r][j] = vdupq_n_s32(0);
  }
  for (size_t g = 0; g < s.groups; g += 4, weight += 16, v += 4 * s.group_bytes) {
    const size_t left = s.groups - g;
    SplitWeights w[kRows];
#pragma GCC unroll 2
    for (size_t r = 0; r < kRows; ++r) w[r] = load_weights(weight + r * s.ld_weight, left);
    add_group<kRows, 0>(w, v, high, low);
    if (left > 1) add_group<kRows, 1>(w, v + s.group_bytes, high, low);
    if (left > 2) add_group<kRows, 2>(w, v + 2 * s.group_bytes, high, low);
    if (left > 3) add_group<kRows, 3>(w, v + 3 * s.group_bytes, high, low);
  }
#pragma GCC unroll 2
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) {
      int32_t* acc = s.acc + (row + r) * s.ld_acc + panel * kPanelOutputs + 4 * j;
      const int32x4_t sum = vaddq_s32(vshlq_n_s32(high[r][j], 7), low[r][j]);
      vst1q_s32(acc, vaddq_s32(vld1q_s32(acc), sum));
    }
  }
}

void weighted_sum(const uint16_t* weight, size_t ld_weight, size_t rows, const int8_t* values, size_t count,
                  size_t d_head, int32_t* acc, size_t ld_acc) {
  const Sums s = {weight, ld_weight, values, count / kPanelDepth, value_group_bytes(d_head), acc, ld_acc};
  for (size_t panel = 0; panel * kPanelOutputs < d_head; ++panel) {
    size_t row = 0;
    for (; row + 2 <= rows; row += 2) tile<2>(s, row, panel);
    if (row < rows) tile<1>(s, row, panel);
  }
}

}  // namespace

void provide(AttentionKernels& k) {
  k.weighted_sum = weighted_sum;
  k.weighted_rows = weighted_rows_of<Vector>;
}

}  // namespace neondot
}  // namespace lsrt
