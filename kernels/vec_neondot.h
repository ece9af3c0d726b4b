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

// For columns.h.
struct Vector {
  using Register = float32x4_t;
  using Whole = neondot::Whole;
  using Part = neondot::Part;
  static constexpr size_t kWidth = 4;
  static Register set(float x) { return vdupq_n_f32(x); }
  static Register add(Register a, Register b) { return vaddq_f32(a, b); }
  static Register sub(Register a, Register b) { return vsubq_f32(a, b); }
  static Register max(Register a, Register b) { return max4(a, b); }
  static Register multiply_add(Register a, Register b, Register sum) { return vfmaq_f32(sum, a, b); }
};

// Calls step(i, j, at) for the elements i .. i + 3 of a row; their lanes are 4 j .. 4 j + 3 of rows.h.
template <typename Step>
inline __attribute__((always_inline)) void for_each4(size_t n, Step step) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    step(i, 0, Whole());
    step(i + 4, 1, Whole());
    step(i + 8, 2, Whole());
    step(i + 12, 3, Whole());
  }
  if (i < n) step(i, 0, Part(n - i));
  if (i + 4 < n) step(i + 4, 1, Part(n - i - 4));
  if (i + 8 < n) step(i + 8, 2, Part(n - i - 8));
  if (i + 12 < n) step(i + 12, 3, Part(n - i - 12));
}

// The 16 lanes of a sum or a maximum.
struct Lanes {
  float32x4_t v[4];
  explicit Lanes(float start)
      : v{vdupq_n_f32(start), vdupq_n_f32(start), vdupq_n_f32(start), vdupq_n_f32(start)} {}
};

inline float fold_sum(const Lanes& lanes) {
  const float32x4_t v = vaddq_f32(vaddq_f32(lanes.v[0], lanes.v[2]), vaddq_f32(lanes.v[1], lanes.v[3]));
  const float32x2_t pair = vadd_f32(vget_low_f32(v), vget_high_f32(v));
  return vget_lane_f32(pair, 0) + vget_lane_f32(pair, 1);
}

inline float fold_max(const Lanes& lanes) {  // no lane is NaN: accumulators never become it
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(lanes.v[0], lanes.v[1]), vmaxq_f32(lanes.v[2], lanes.v[3])));
}

inline float fold_min(const Lanes& lanes) {
  return vminvq_f32(vminq_f32(vminq_f32(lanes.v[0], lanes.v[1]), vminq_f32(lanes.v[2], lanes.v[3])));
}

// round(v * factor), held in lowest .. highest, NaN becomes lowest.
inline int32x4_t quantize4(float32x4_t v, float factor, float lowest, float highest) {
  v = max4(vmulq_n_f32(v, factor), vdupq_n_f32(lowest));
  return vcvtnq_s32_f32(min4(v, vdupq_n_f32(highest)));
}

}  // namespace
}  // namespace neondot
}  // namespace lsrt
