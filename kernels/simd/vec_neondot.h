// NEON helpers for float rows, one private copy a file.
#pragma once

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace lsrt {
namespace neondot {
namespace {

inline bool is_normal(float positive) { return positive >= 0x1p-126f && positive <= 0x1.fffffep+127f; }

// The vmaxq and vminq of the CPU return NaN where one operand is NaN; these return b, as the scalar set does.
inline float32x4_t max4(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
inline float32x4_t min4(float32x4_t a, float32x4_t b) { return vbslq_f32(vcltq_f32(a, b), a, b); }

// Four elements of a row: all inside it, or only the first n.
struct Whole {
  float32x4_t load(const float* p) const { return vld1q_f32(p); }
  void store(float* p, float32x4_t v) const { vst1q_f32(p, v); }
  float32x4_t keep(float32x4_t v) const { return v; }
};

struct Part {
  size_t bytes;
  explicit Part(size_t n) : bytes((n < 4 ? n : 4) * sizeof(float)) {}
  float32x4_t load(const float* p) const {
    float buffer[4] = {};
    memcpy(buffer, p, bytes);
    return vld1q_f32(buffer);
  }
  void store(float* p, float32x4_t v) const { memcpy(p, &v, bytes); }
  float32x4_t keep(float32x4_t v) const {
    float buffer[4] = {};
    memcpy(buffer, &v, bytes);
    return vld1q_f32(buffer);
  }
};

// For rows_simd.h and weighted_rows.h.
struct Vector {
  using Floats = float32x4_t;
  using Ints = int32x4_t;
  using Whole = neondot::Whole;
  using Part = neondot::Part;
  static constexpr size_t kWidth = 4;

  static Floats set(float x) { return vdupq_n_f32(x); }
  static Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
  static Floats sub(Floats a, Floats b) { return vsubq_f32(a, b); }
  static Floats mul(Floats a, Floats b) { return vmulq_f32(a, b); }
  static Floats div(Floats a, Floats b) { return vdivq_f32(a, b); }
  static Floats min(Floats a, Floats b) { return min4(a, b); }
  static Floats max(Floats a, Floats b) { return max4(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
  static Floats abs(Floats v) { return vabsq_f32(v); }
  static Floats keep_at_least(Floats v, Floats x, Floats bound) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), vcgeq_f32(x, bound)));
  }
  static Floats power_of_two(Floats v) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vreinterpretq_s32_f32(v), vdupq_n_s32(127)), 23));
  }
  static Floats add_to_exponent(Floats v, Floats n) {
    const Ints power = vshlq_n_s32(vreinterpretq_s32_f32(n), 23);
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(v), power));
  }
  static Ints round(Floats v) { return vcvtnq_s32_f32(v); }
  static Ints add_int(Ints a, Ints b) { return vaddq_s32(a, b); }

  static float fold_sum(Floats v) {
    const float32x2_t pair = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(pair, 0) + vget_lane_f32(pair, 1);
  }
  static int32_t fold_sum_int(Ints v) { return vaddvq_s32(v); }
  static float fold_min(Floats v) { return vminvq_f32(v); }
  static float fold_max(Floats v) { return vmaxvq_f32(v); }

  static void store_words(uint16_t* to, const Ints (&v)[4]) {
    vst1q_u16(to, vreinterpretq_u16_s16(vcombine_s16(vmovn_s32(v[0]), vmovn_s32(v[1]))));
    vst1q_u16(to + 8, vreinterpretq_u16_s16(vcombine_s16(vmovn_s32(v[2]), vmovn_s32(v[3]))));
  }
  static void store_bytes(int8_t* to, const Ints (&v)[4]) {
    const int16x8_t low = vcombine_s16(vmovn_s32(v[0]), vmovn_s32(v[1]));
    const int16x8_t high = vcombine_s16(vmovn_s32(v[2]), vmovn_s32(v[3]));
    vst1q_s8(to, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
  }
};

// round(v * factor), held in lowest .. highest, NaN becomes lowest.
inline int32x4_t quantize4(float32x4_t v, float factor, float lowest, float highest) {
  v = max4(vmulq_n_f32(v, factor), vdupq_n_f32(lowest));
  return vcvtnq_s32_f32(min4(v, vdupq_n_f32(highest)));
}

}  // namespace
}  // namespace neondot
}  // namespace lsrt
