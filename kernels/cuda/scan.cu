// Selective state spaces (runtime/device/ops_scan.h): float32, in the order of kernels/scan/scalar.cc.
#include "kernels/cuda/row_math.h"
#include "kernels/scan/scan_math.h"

namespace lsrt {
namespace cuda {

template <int k>
constexpr float kLog1pOf = kLog1p[k];

LSRT_DEVICE float exp_bounded(float x) {
  float shifted;
  const float p = exp_reduced(max_of(x, kExpMin), &shifted);
  return float_of_bits(bits_of(p) + (bits_of(shifted) << 23));
}
LSRT_DEVICE float silu(float x) {
  const float e = exp_bounded(-fabsf(x));
  return fmaf(min_of(0.0f, x), e, max_of(x, 0.0f)) / (1.0f + e);
}
LSRT_DEVICE float softplus(float x) {
  static_assert(kLog1pDegree == 8, "the steps below");
  const float e = exp_bounded(-fabsf(x));
  float p = fmaf(kLog1pOf<8>, e, kLog1pOf<7>);
  p = fmaf(p, e, kLog1pOf<6>);
  p = fmaf(p, e, kLog1pOf<5>);
  p = fmaf(p, e, kLog1pOf<4>);
  p = fmaf(p, e, kLog1pOf<3>);
  p = fmaf(p, e, kLog1pOf<2>);
  p = fmaf(p, e, kLog1pOf<1>);
  p = fmaf(p, e, kLog1pOf<0>);
  return fmaf(e, p, max_of(0.0f, x));
}

// Row t of the history and the rows after it.
LSRT_DEVICE float before_or_now(const float* history, const float* x, uint64_t x_stride, uint32_t channels,
                                uint32_t taps, uint32_t t, uint32_t c) {
  return t < taps - 1 ? history[uint64_t{t} * channels + c] : x[(t - (taps - 1)) * x_stride + c];
}

LSRT_KERNEL(scan_convolve, ScanConvolveParams, 256) {
  for (uint64_t item = first_item(); item < uint64_t{p.rows} * p.channels; item += all_threads()) {
    const auto t = static_cast<uint32_t>(item / p.channels), c = static_cast<uint32_t>(item % p.channels);
    float sum = p.bias ? p.bias[c] : 0.0f;
    for (uint32_t j = 0; j < p.taps; ++j) {
      const float x = before_or_now(p.history, p.x, p.x_stride, p.channels, p.taps, t + j, c);
      sum = fmaf(p.weight[uint64_t{j} * p.channels + c], x, sum);
    }
    p.y[item] = silu(sum);
  }
}

LSRT_KERNEL(scan_history, ScanHistoryParams, 256) {
  for (uint64_t c = first_item(); c < p.channels; c += all_threads()) {
    for (uint32_t j = 0; j + 1 < p.taps; ++j) {  // upwards: a row moves towards the front
      p.history[uint64_t{j} * p.channels + c] =
          before_or_now(p.history, p.x, p.x_stride, p.channels, p.taps, p.rows + j, static_cast<uint32_t>(c));
    }
  }
}

// A thread a channel.
LSRT_KERNEL(selective_scan, SelectiveScanParams, 64) {
  const uint64_t c = first_item();
  if (c >= p.channels) return;
  for (uint32_t t = 0; t < p.rows; ++t) {
    const uint64_t at = uint64_t{t} * p.channels + c;
    const float v = p.v[at], dt = softplus(p.step[at]), w = dt * v;
    const float *b = p.b + t * p.parameter_stride, *parameter_c = p.c + t * p.parameter_stride;
    float y = 0;
    for (uint32_t k = 0; k < p.states; ++k) {
      const uint64_t state = uint64_t{k} * p.channels + c;
      const float h = fmaf(exp_bounded(dt * p.a[state]), p.state[state], w * b[k]);
      p.state[state] = h;
      y = fmaf(h, parameter_c[k], y);
    }
    y = fmaf(p.d[c], v, y);
    p.y[at] = y * silu(p.z[t * p.z_stride + c]);
  }
}

LSRT_KERNEL(dual_steps, DualStepsParams, 256) {
  const uint64_t n = uint64_t{p.rows} * p.heads;
  for (uint64_t item = first_item(); item < n; item += all_threads()) {
    const uint64_t t = item / p.heads, head = item % p.heads;
    float dt = softplus(p.step[t * p.step_stride + head] + p.bias[head]);
    dt = min_of(p.high, max_of(p.low, dt));
    p.steps[item] = dt;
    p.steps[n + item] = exp_bounded(dt * p.a[head]);
  }
}

// A half warp a channel; a lane keeps to its own states.
LSRT_KERNEL(dual_scan, DualScanParams, 128) {
  const uint32_t channel = half_warp(), channels = p.heads * p.head_dim;
  const uint32_t states = channel < channels ? p.states : 0;
  const uint32_t head = states ? channel / p.head_dim : 0;
  const uint64_t group = uint64_t{head / (p.heads / p.groups)} * p.states;
  float* state = p.state + uint64_t{channel} * p.states;
  for (uint32_t t = 0; t < p.rows; ++t) {
    const float v = states ? p.v[t * p.stride + channel] : 0.0f;
    const float w = p.steps[t * p.heads + head] * v, decay = p.steps[(p.rows + t) * p.heads + head];
    const float *b = p.b + t * p.stride + group, *c = p.c + t * p.stride + group;
    const float y = lane_sum(states, [&](uint32_t k, float sum) {
      const float h = fmaf(decay, state[k], w * b[k]);
      state[k] = h;
      return fmaf(h, c[k], sum);
    });
    if (states && half_lane() == 0) {
      p.y[uint64_t{t} * channels + channel] = fmaf(p.d[p.d_per_channel ? channel : head], v, y);
    }
  }
}

// A half warp a part of a row; a lane keeps to its own elements.
LSRT_KERNEL(gated_norm, GatedNormParams, 128) {
  const uint32_t item = half_warp(), row = item / p.groups, group = item % p.groups,
                 part = p.width / p.groups;
  const uint32_t n = row < p.rows ? part : 0;
  const float* z = p.z + row * p.z_stride + group * part;
  float* y = p.y + uint64_t{row} * p.width + group * part;
  for (uint32_t i = half_lane(); i < n; i += kHalfWarp) y[i] *= silu(z[i]);
  Norm norm = p.norm;
  if (norm.gamma) norm.gamma += group * part;
  const Measured measured = measure(norm, n, [&](uint32_t i) { return y[i]; });
  for (uint32_t i = half_lane(); i < n; i += kHalfWarp) y[i] = normed(norm, measured, i, y[i]);
}

}  // namespace cuda
}  // namespace lsrt
