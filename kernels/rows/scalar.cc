// The definition of the row operations: plain loops, never optimized. The order of sums is that of rows.h,
// the order of float operations the one written here; other kernel sets return the same bits.
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/isa_sets.h"
#include "kernels/rows/rows_math.h"

namespace lsrt {
namespace scalar {
namespace {

constexpr size_t kLanes = 16;

float max_of(float a, float b) { return a > b ? a : b; }  // a NaN in a gives b
float min_of(float a, float b) { return a < b ? a : b; }

float fold(float* lane) {
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t j = 0; j < half; ++j) lane[j] += lane[j + half];
  }
  return lane[0];
}

// exp(x) for x <= 0: x = n ln 2 + r, exp(r) = 1 + r ((c1 + c2 r) + r^2 ((c3 + c4 r) + c5 r^2)), 2^n by its
// exponent bits. Relative error below 2e-7; 0 where x < kExpMin or NaN.
float exp_negative(float x) {
  if (!(x >= kExpMin)) return 0.0f;
  const float shifted = fmaf(x, kLog2E, kRoundMagic);
  const float n = shifted - kRoundMagic;
  float r = fmaf(n, -kLn2High, x);
  r = fmaf(n, -kLn2Low, r);
  const float r2 = r * r;
  const float low = fmaf(kExp2, r, kExp1);
  const float high = fmaf(kExp5, r2, fmaf(kExp4, r, kExp3));
  const float p = fmaf(fmaf(high, r2, low), r, 1.0f);
  uint32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127) << 23;  // the low bits of shifted are n
  float power;
  memcpy(&power, &bits, sizeof power);
  return p * power;
}

void layer_norm_row(const float* x, const float* gamma, const float* beta, float eps, size_t d, float* out) {
  float lane[kLanes] = {};
  for (size_t i = 0; i < d; ++i) lane[i % kLanes] += x[i];
  const float mean = fold(lane) / (float)d;
  float square[kLanes] = {};
  for (size_t i = 0; i < d; ++i) square[i % kLanes] = fmaf(x[i] - mean, x[i] - mean, square[i % kLanes]);
  const float rstd = 1.0f / sqrtf(fold(square) / (float)d + eps);
  for (size_t i = 0; i < d; ++i) out[i] = fmaf((x[i] - mean) * rstd, gamma[i], beta[i]);
}

void layer_norm(const float* x, size_t ld, size_t rows, const float* gamma, const float* beta, float eps,
                size_t d, float* out, size_t ld_out) {
  for (size_t r = 0; r < rows; ++r) layer_norm_row(x + r * ld, gamma, beta, eps, d, out + r * ld_out);
}

void rms_norm(const float* x, size_t ld, size_t rows, const float* gamma, float eps, size_t d, float* out,
              size_t ld_out) {
  for (size_t r = 0; r < rows; ++r, x += ld, out += ld_out) {
    float square[kLanes] = {};
    for (size_t i = 0; i < d; ++i) square[i % kLanes] = fmaf(x[i], x[i], square[i % kLanes]);
    const float scale = 1.0f / sqrtf(fold(square) / (float)d + eps);
    for (size_t i = 0; i < d; ++i) {
      const float v = x[i] * scale;
      out[i] = gamma ? v * gamma[i] : v;
    }
  }
}

void add(const float* x, size_t n, float* y) {
  for (size_t i = 0; i < n; ++i) y[i] += x[i];
}

void add_runs(const float* x, const int32_t* offset, const AddRun* runs, size_t n, float* y) {
  for (const AddRun* run = runs; run < runs + n; ++run)
    add(x + offset[run->index] + run->from, run->count, y + run->to);
}

// 0.5 x (1 + erf(x / sqrt 2)) = fma(x / 2, erf, x / 2), the even and odd powers of u summed apart by Horner:
// two short chains of operations suit CPUs better than a long one.
void gelu(float* x, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    const float u = min_of(fmaf(x[i] * x[i], kErfSquare, -1.0f), 1.0f);
    const float u2 = u * u;
    float even = kErf[kErfDegree - 1], odd = kErf[kErfDegree];
    for (int k = kErfDegree - 3; k >= 0; k -= 2) {
      even = fmaf(even, u2, kErf[k]);
      odd = fmaf(odd, u2, kErf[k + 1]);
    }
    const float p = fmaf(odd, u, even);
    const float erf = min_of(max_of(x[i] * p, -1.0f), 1.0f);
    const float half = 0.5f * x[i];
    x[i] = fmaf(half, erf, half);
  }
}

void relu(float* x, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] = max_of(x[i], 0.0f);
}

float softmax_weights_row(float* s, const float* value_scale, size_t n, uint16_t* weight) {
  float m = kMaskedScore;
  for (size_t i = 0; i < n; ++i) m = max_of(s[i], m);
  float e_lane[kLanes] = {}, g_lane[kLanes] = {}, g_max = 0;
  for (size_t i = 0; i < n; ++i) {
    const float e = exp_negative(s[i] - m);
    const float g = e * value_scale[i];
    e_lane[i % kLanes] += e;
    g_lane[i % kLanes] += g;
    g_max = max_of(g, g_max);
    s[i] = g;
  }
  const float e_sum = fold(e_lane), g_sum = fold(g_lane);
  const float f = g_max > 0 ? min_of(kSoftmaxSumMax / g_sum, kSoftmaxWeightMax / g_max) : 0.0f;
  for (size_t i = 0; i < n; ++i) {
    weight[i] = (uint16_t)rintf(min_of(max_of(s[i] * f, 0.0f), kSoftmaxWeightMax));
  }
  return f > 0 ? 1.0f / (f * e_sum) : 0.0f;
}

void softmax_weights(float* s, const float* value_scale, size_t rows, size_t n, uint16_t* weight,
                     float* scale) {
  for (size_t r = 0; r < rows; ++r) scale[r] = softmax_weights_row(s + r * n, value_scale, n, weight + r * n);
}

float quantize_symmetric_row(const float* x, size_t n, int8_t* q) {
  float m = 0;
  for (size_t i = 0; i < n; ++i) m = max_of(fabsf(x[i]), m);
  const float scale = m / 127.0f;
  if (!(scale >= FLT_MIN && scale <= FLT_MAX)) {
    memset(q, 0, n);
    return 0.0f;
  }
  const float inverse = 127.0f / m;
  for (size_t i = 0; i < n; ++i) q[i] = (int8_t)rintf(min_of(max_of(x[i] * inverse, -127.0f), 127.0f));
  return scale;
}

void quantize_symmetric(const float* x, size_t rows, size_t n, int8_t* q, size_t ld, float* scale,
                        int32_t* sum) {
  for (size_t r = 0; r < rows; ++r) {
    scale[r] = quantize_symmetric_row(x + r * n, n, q + r * ld);
    sum[r] = 0;
    for (size_t i = 0; i < n; ++i) sum[r] += q[r * ld + i];
  }
}

float dot(const float* x, const float* y, size_t n) {
  float lane[kLanes] = {};
  for (size_t i = 0; i < n; ++i) lane[i % kLanes] += x[i] * y[i];
  return fold(lane);
}

void add_scaled(float factor, const float* x, size_t n, float* y) {
  for (size_t i = 0; i < n; ++i) y[i] += factor * x[i];
}

void softmax(float* x, size_t n) {
  float m = kMaskedScore;
  for (size_t i = 0; i < n; ++i) m = max_of(x[i], m);
  float lane[kLanes] = {};
  for (size_t i = 0; i < n; ++i) {
    x[i] = exp_negative(x[i] - m);
    lane[i % kLanes] += x[i];
  }
  const float inverse = 1.0f / fold(lane);
  for (size_t i = 0; i < n; ++i) x[i] *= inverse;
}

void exp_columns(const float* s, size_t ld_s, size_t rows, size_t n, float* e, size_t ld_e, float* largest,
                 float* total) {
  for (size_t j = 0; j < n; ++j) {
    float m = kMaskedScore, sum = 0;
    for (size_t t = 0; t < rows; ++t) m = max_of(s[t * ld_s + j], m);
    for (size_t t = 0; t < rows; ++t) sum += e[t * ld_e + j] = exp_negative(s[t * ld_s + j] - m);
    largest[j] = m;
    total[j] = sum;
  }
}

}  // namespace

void provide(RowKernels& k) {
  k.layer_norm = layer_norm;
  k.rms_norm = rms_norm;
  k.add = add;
  k.add_runs = add_runs;
  k.gelu = gelu;
  k.relu = relu;
  k.softmax_weights = softmax_weights;
  k.quantize_symmetric = quantize_symmetric;
  k.dot = dot;
  k.add_scaled = add_scaled;
  k.softmax = softmax;
  k.exp_columns = exp_columns;
}

}  // namespace scalar
}  // namespace lsrt
