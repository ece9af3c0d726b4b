// Selective state spaces of one layer over a stream (spec mamba, sections 1 and 2): their state is a few rows
// before the convolution, and numbers that decay. Results do not depend on how rows come in launches.
#pragma once

#include "runtime/device/dev.h"
#include "runtime/device/stream.h"

namespace lsrt {

// y = silu(convolution of x) of each channel along the rows.
struct ScanConvolution {
  size_t rows, channels, taps;
  Dev<const float> x;  // rows, x_stride floats apart
  size_t x_stride;
  Dev<const float> weight;  // [taps, channels]; the last one meets the current row
  Dev<const float> bias;    // [channels] or null
  Dev<float> history;       // [taps - 1, channels], oldest first: the rows before, then the last ones
  Dev<float> y;             // [rows, channels]
};

// With dt = softplus(step): state = exp(dt * a) * state + dt * v * B; y = (state C + d * v) * silu(z).
struct SelectiveScanRows {
  size_t rows, channels, states;
  Dev<const float> v;     // [rows, channels]
  Dev<const float> step;  // [rows, channels]
  Dev<const float> z;     // [channels], rows z_stride apart
  size_t z_stride;
  Dev<const float> b, c;  // [states], rows parameter_stride apart; shared by the channels
  size_t parameter_stride;
  Dev<const float> a;  // [states, channels]
  Dev<const float> d;  // [channels]
  Dev<float> state;    // [states, channels]
  Dev<float> y;        // [rows, channels]
};

// The same with one decay a head: head i owns channels [i head_dim, (i + 1) head_dim) and reads group i /
// (heads / groups) of b and c. dt = softplus(step + step_bias), held in step_min .. step_max; y = state C + d
// * v.
struct DualScan {
  size_t rows, heads, groups, head_dim, states;
  Dev<const float> v;     // [heads * head_dim], rows stride apart
  Dev<const float> b, c;  // [groups, states], rows stride apart
  size_t stride;
  Dev<const float> step;  // [heads], rows step_stride apart
  size_t step_stride;
  Dev<const float> step_bias;  // [heads]
  float step_min, step_max;
  Dev<const float> a;  // [heads]
  Dev<const float> d;  // [heads], or if d_per_channel [heads * head_dim]
  bool d_per_channel;
  Dev<float> state;  // [heads * head_dim, states]
  Dev<float> steps;  // [2, rows, heads]: scratch
  Dev<float> y;      // [rows, heads * head_dim]
};

// y = norm(y * silu(z)), each of `groups` equal parts of a row by itself.
struct GatedNorm {
  size_t rows, width, groups;
  Dev<const float> z;  // [width], rows z_stride apart
  size_t z_stride;
  DeviceNorm norm;  // [width]
  Dev<float> y;     // [rows, width]
};

class ScanOps {
 public:
  virtual ~ScanOps() = default;

  virtual void convolve(Stream& stream, const ScanConvolution& convolution) const = 0;
  virtual void selective_scan(Stream& stream, const SelectiveScanRows& scan) const = 0;
  virtual void dual_scan(Stream& stream, const DualScan& scan) const = 0;
  virtual void gated_norm(Stream& stream, const GatedNorm& norm) const = 0;
};

}  // namespace lsrt
