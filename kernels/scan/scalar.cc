// The definition of the scan's operations: plain loops, never optimized. Other kernel sets return the same
// bits.
#include <math.h>
#include <string.h>

#include "kernels/isa_sets.h"
#include "kernels/rows/rows_math.h"
#include "kernels/scan/scan_math.h"

namespace lsrt {
namespace scalar {
namespace {

float max_of(float a, float b) { return a > b ? a : b; }  // a NaN in a gives b
float min_of(float a, float b) { return a < b ? a : b; }

float exp_bounded(float x) {
  x = max_of(x, kExpMin);
  const float shifted = fmaf(x, kLog2E, kRoundMagic);
  const float n = shifted - kRoundMagic;
  float r = fmaf(n, -kLn2High, x);
  r = fmaf(n, -kLn2Low, r);
  const float r2 = r * r;
  const float low = fmaf(kExp2, r, kExp1);
  const float high = fmaf(kExp5, r2, fmaf(kExp4, r, kExp3));
  float p = fmaf(fmaf(high, r2, low), r, 1.0f);
  uint32_t bits, power;
  memcpy(&bits, &p, sizeof bits);
  memcpy(&power, &shifted, sizeof power);
  bits += power << 23;  // the low bits of shifted are n
  memcpy(&p, &bits, sizeof p);
  return p;
}

float silu(float x) {
  const float e = exp_bounded(-fabsf(x));
  return fmaf(min_of(0.0f, x), e, max_of(x, 0.0f)) / (1.0f + e);
}

float softplus(float x) {
  const float e = exp_bounded(-fabsf(x));
  float p = kLog1p[kLog1pDegree];
  for (int k = kLog1pDegree - 1; k >= 0; --k) p = fmaf(p, e, kLog1p[k]);
  return fmaf(e, p, max_of(0.0f, x));
}

void convolve(const ConvolveRows& r) {
  const size_t before = r.taps - 1;
  // Row t of the history and the rows after it.
  const auto row = [&](size_t t) {
    return t < before ? r.history + t * r.ld_history : r.x + (t - before) * r.ld_x;
  };
  for (size_t t = 0; t < r.rows; ++t) {
    for (size_t c = 0; c < r.channels; ++c) {
      float s = r.bias ? r.bias[c] : 0.0f;
      for (size_t j = 0; j < r.taps; ++j) s = fmaf(r.weight[j * r.ld_weight + c], row(t + j)[c], s);
      r.y[t * r.ld_y + c] = silu(s);
    }
  }
  for (size_t j = 0; j < before; ++j) {  // upwards: a row moves towards the front
    memmove(r.history + j * r.ld_history, row(r.rows + j), r.channels * sizeof(float));
  }
}

void selective_scan(const ScanRows& r) {
  for (size_t c = 0; c < r.channels; ++c) {
    for (size_t t = 0; t < r.rows; ++t) {
      const float v = r.v[t * r.ld_v + c], dt = softplus(r.step[t * r.ld_step + c]), w = dt * v;
      float y = 0;
      for (size_t k = 0; k < r.states; ++k) {
        float& h = r.state[k * r.ld_state + c];
        const float p = exp_bounded(dt * r.a[k * r.ld_state + c]);
        h = fmaf(p, h, w * r.b[t * r.ld_parameters + k]);
        y = fmaf(h, r.c[t * r.ld_parameters + k], y);
      }
      y = fmaf(r.d[c], v, y);
      r.y[t * r.ld_y + c] = y * silu(r.z[t * r.ld_z + c]);
    }
  }
}

void dual_steps(const DualSteps& s) {
  for (size_t t = 0; t < s.rows; ++t) {
    for (size_t i = 0; i < s.heads; ++i) {
      const float dt = softplus(s.step[t * s.ld_step + i] + s.bias[i]);
      s.dt[t * s.heads + i] = min_of(s.high, max_of(s.low, dt));
      s.decay[t * s.heads + i] = exp_bounded(s.dt[t * s.heads + i] * s.a[i]);
    }
  }
}

void dual_scan(const DualScanRows& r) {
  constexpr size_t kLanes = 16;
  for (size_t c = 0; c < r.channels; ++c) {
    float* h = r.state + c * r.states;
    for (size_t t = 0; t < r.rows; ++t) {
      const float v = r.v[t * r.ld_v + c], w = r.dt[t * r.ld_steps] * v, p = r.decay[t * r.ld_steps];
      float lane[kLanes] = {};
      for (size_t k = 0; k < r.states; ++k) {
        h[k] = fmaf(p, h[k], w * r.b[t * r.ld_parameters + k]);
        lane[k % kLanes] = fmaf(h[k], r.c[t * r.ld_parameters + k], lane[k % kLanes]);
      }
      for (size_t half = kLanes / 2; half > 0; half /= 2) {
        for (size_t j = 0; j < half; ++j) lane[j] += lane[j + half];
      }
      r.y[t * r.ld_y + c] = fmaf(r.d[r.d_per_channel ? c : 0], v, lane[0]);
    }
  }
}

void gate(const float* z, size_t n, float* y) {
  for (size_t i = 0; i < n; ++i) y[i] *= silu(z[i]);
}

}  // namespace

void provide(ScanKernels& k) {
  k.convolve = convolve;
  k.selective_scan = selective_scan;
  k.dual_steps = dual_steps;
  k.dual_scan = dual_scan;
  k.gate = gate;
}

}  // namespace scalar
}  // namespace lsrt
