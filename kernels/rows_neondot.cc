// Row operations for NEON: the 16 lanes of rows.h are four registers. The order of operations is that of
// rows_scalar.cc, so the results are the same bits. A row's last elements are loaded with zeros behind them,
// which leaves sums as they are.
#include <arm_neon.h>
#include <string.h>

#include "kernels/columns.h"
#include "kernels/isa_sets.h"
#include "kernels/rows_math.h"
#include "kernels/vec_neondot.h"

namespace lsrt {
namespace neondot {
namespace {

inline float32x4_t exp_negative(float32x4_t x) {
  const uint32x4_t in_range = vcgeq_f32(x, vdupq_n_f32(kExpMin));
  const float32x4_t shifted = vfmaq_f32(vdupq_n_f32(kRoundMagic), x, vdupq_n_f32(kLog2E));
  const float32x4_t n = vsubq_f32(shifted, vdupq_n_f32(kRoundMagic));
  float32x4_t r = vfmaq_f32(x, n, vdupq_n_f32(-kLn2High));
  r = vfmaq_f32(r, n, vdupq_n_f32(-kLn2Low));
  const float32x4_t r2 = vmulq_f32(r, r);
  const float32x4_t low = vfmaq_f32(vdupq_n_f32(kExp1), vdupq_n_f32(kExp2), r);
  float32x4_t high = vfmaq_f32(vdupq_n_f32(kExp3), vdupq_n_f32(kExp4), r);
  high = vfmaq_f32(high, vdupq_n_f32(kExp5), r2);
  const float32x4_t p = vfmaq_f32(vdupq_n_f32(1.0f), vfmaq_f32(low, high, r2), r);
  const int32x4_t bits = vaddq_s32(vreinterpretq_s32_f32(shifted), vdupq_n_s32(127));
  const float32x4_t power = vreinterpretq_f32_s32(vshlq_n_s32(bits, 23));
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(vmulq_f32(p, power)), in_range));
}

void layer_norm(const float* x, const float* gamma, const float* beta, float eps, size_t d, float* out) {
  Lanes sum(0);
  for_each4(d, [&](size_t i, size_t j, auto at) { sum.v[j] = vaddq_f32(sum.v[j], at.load(x + i)); });
  const float32x4_t mean = vdupq_n_f32(fold_sum(sum) / (float)d);
  Lanes square(0);
  for_each4(d, [&](size_t i, size_t j, auto at) {
    const float32x4_t diff = at.keep(vsubq_f32(at.load(x + i), mean));
    square.v[j] = vfmaq_f32(square.v[j], diff, diff);
  });
  const float variance = fold_sum(square) / (float)d;
  const float32x4_t rstd = vdupq_n_f32(1.0f / __builtin_sqrtf(variance + eps));
  for_each4(d, [&](size_t i, size_t, auto at) {
    const float32x4_t v = vmulq_f32(vsubq_f32(at.load(x + i), mean), rstd);
    at.store(out + i, vfmaq_f32(at.load(beta + i), v, at.load(gamma + i)));
  });
}

void add(const float* x, size_t n, float* y) {
  for_each4(n,
            [&](size_t i, size_t, auto at) { at.store(y + i, vaddq_f32(at.load(y + i), at.load(x + i))); });
}

void add_runs(const float* x, const int32_t* offset, const AddRun* runs, size_t n, float* y) {
  for (const AddRun* run = runs; run < runs + n; ++run)
    add(x + offset[run->index] + run->from, run->count, y + run->to);
}

inline float32x4_t gelu4(float32x4_t x) {
  float32x4_t u = vfmaq_f32(vdupq_n_f32(-1.0f), vmulq_f32(x, x), vdupq_n_f32(kErfSquare));
  u = min4(u, vdupq_n_f32(1.0f));
  const float32x4_t u2 = vmulq_f32(u, u);
  float32x4_t even = vdupq_n_f32(kErf[kErfDegree - 1]), odd = vdupq_n_f32(kErf[kErfDegree]);
#pragma GCC unroll 8
  for (int k = kErfDegree - 3; k >= 0; k -= 2) {
    even = vfmaq_f32(vdupq_n_f32(kErf[k]), even, u2);
    odd = vfmaq_f32(vdupq_n_f32(kErf[k + 1]), odd, u2);
  }
  const float32x4_t p = vfmaq_f32(even, odd, u);
  const float32x4_t erf = min4(max4(vmulq_f32(x, p), vdupq_n_f32(-1.0f)), vdupq_n_f32(1.0f));
  const float32x4_t half = vmulq_n_f32(x, 0.5f);
  return vfmaq_f32(half, half, erf);
}

void gelu(float* x, size_t n) {
  for_each4(n, [&](size_t i, size_t, auto at) { at.store(x + i, gelu4(at.load(x + i))); });
}

void relu(float* x, size_t n) {
  for_each4(n, [&](size_t i, size_t, auto at) { at.store(x + i, max4(at.load(x + i), vdupq_n_f32(0))); });
}

float max_of(const float* x, size_t n) {
  Lanes m(kMaskedScore);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (size_t j = 0; j < 4; ++j) m.v[j] = max4(vld1q_f32(x + i + 4 * j), m.v[j]);
  }
  float best = fold_max(m);
  for (; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

float softmax_weights(float* s, const float* value_scale, size_t n, uint16_t* weight) {
  const float32x4_t m = vdupq_n_f32(max_of(s, n));
  Lanes e_sum(0), g_sum(0), g_max(0);
  for_each4(n, [&](size_t i, size_t j, auto at) {
    const float32x4_t e = exp_negative(vsubq_f32(at.load(s + i), m));
    const float32x4_t g = vmulq_f32(e, at.load(value_scale + i));
    e_sum.v[j] = vaddq_f32(e_sum.v[j], e);
    g_sum.v[j] = vaddq_f32(g_sum.v[j], g);
    g_max.v[j] = max4(g, g_max.v[j]);
    at.store(s + i, g);
  });
  const float peak = fold_max(g_max);
  const float by_sum = kSoftmaxSumMax / fold_sum(g_sum);
  const float by_peak = (float)kSoftmaxWeightMax / peak;
  const float f = !(peak > 0) ? 0.0f : by_sum < by_peak ? by_sum : by_peak;
  for (size_t i = 0; i < n; i += 4) {
    const int32x4_t w = quantize4(vld1q_f32(s + i), f, 0.0f, (float)kSoftmaxWeightMax);
    vst1_u16(weight + i, vreinterpret_u16_s16(vmovn_s32(w)));
  }
  return f > 0 ? 1.0f / (f * fold_sum(e_sum)) : 0.0f;
}

float quantize_symmetric(const float* x, size_t n, int8_t* q) {
  Lanes m(0);
  for_each4(n, [&](size_t i, size_t j, auto at) { m.v[j] = max4(vabsq_f32(at.load(x + i)), m.v[j]); });
  const float peak = fold_max(m), scale = peak / 127.0f;
  if (!is_normal(scale)) {
    memset(q, 0, n);
    return 0.0f;
  }
  for_each4(n, [&](size_t i, size_t, auto at) {
    const int16x4_t words = vmovn_s32(quantize4(at.load(x + i), 127.0f / peak, -127.0f, 127.0f));
    const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
    memcpy(q + i, &bytes, n - i < 4 ? n - i : 4);
  });
  return scale;
}

void softmax(float* x, size_t n) {
  const float32x4_t m = vdupq_n_f32(max_of(x, n));
  Lanes sum(0);
  for_each4(n, [&](size_t i, size_t j, auto at) {
    const float32x4_t e = at.keep(exp_negative(vsubq_f32(at.load(x + i), m)));
    sum.v[j] = vaddq_f32(sum.v[j], e);
    at.store(x + i, e);
  });
  const float32x4_t inverse = vdupq_n_f32(1.0f / fold_sum(sum));
  for_each4(n, [&](size_t i, size_t, auto at) { at.store(x + i, vmulq_f32(at.load(x + i), inverse)); });
}

void exp_columns(const float* s, size_t ld_s, size_t rows, size_t n, float* e, size_t ld_e, float* largest,
                 float* total) {
  const auto exp = [](float32x4_t x) { return exp_negative(x); };
  exp_each<Vector>(exp, s, ld_s, rows, n, e, ld_e, largest, total);
}

}  // namespace

const RowKernels row_kernels = {layer_norm,         add,     add_runs,   gelu, relu, softmax_weights,
                                quantize_symmetric, softmax, exp_columns};

}  // namespace neondot
}  // namespace lsrt
