// Selective state space layers (Mamba), float32 throughout: channels next to each other in memory, rows one
// after the other. Every kernel set returns the same bits, in however many calls rows and channels come:
// "fma" is one rounding, all else one rounding an operation; max(a, b) and min(a, b) are b where one is NaN.
//
//   exp_bounded(x)  that of rows_math.h of max(x, -87); the power of two is added to the exponent's bits,
//   which
//                   for x <= 0 is the same number and for others the same bits everywhere
//   silu(x)         e = exp_bounded(-|x|); fma(min(0, x), e, max(x, 0)) / (1 + e)
//   softplus(x)     e = exp_bounded(-|x|); fma(e, polynomial(e), max(0, x)), the polynomial of scan_math.h
#pragma once

#include <stddef.h>

namespace lsrt {

inline constexpr size_t kMaxScanStates = 256;  // of a channel: buffers on the stack
inline constexpr size_t kMaxScanTaps = 64;     // of the convolution

// Rows x[rows] of `channels` floats, ld_x apart; the same of the others.
struct ConvolveRows {
  size_t rows, channels, taps;  // taps: 1 .. kMaxScanTaps
  const float* x;
  size_t ld_x;
  const float* weight;  // [taps], ld_weight apart; the last one meets the current row
  size_t ld_weight;
  const float* bias;  // [channels] or null: zeros
  float* history;  // [taps - 1], ld_history apart, oldest first: the rows before; then the last ones of all
  size_t ld_history;
  float* y;
  size_t ld_y;
};

struct ScanRows {
  size_t rows, channels, states;  // states: 1 .. kMaxScanStates
  const float* v;
  size_t ld_v;
  const float* step;  // before softplus
  size_t ld_step;
  const float* z;
  size_t ld_z;
  const float *b, *c;  // [states] of each row, ld_parameters apart
  size_t ld_parameters;
  const float* a;  // [states], ld_state apart; at most 0
  const float* d;  // [channels]
  float* state;    // [states], ld_state apart
  size_t ld_state;
  float* y;
  size_t ld_y;
};

// One step of each row and head.
struct DualSteps {
  size_t rows, heads;
  const float* step;
  size_t ld_step;
  const float *bias, *a;  // [heads]
  float low, high;
  float *dt, *decay;  // [rows, heads]
};

// One head.
struct DualScanRows {
  size_t rows, channels, states;
  const float* v;
  size_t ld_v;
  const float *dt, *decay;  // one number of each row, ld_steps apart
  size_t ld_steps;
  const float *b, *c;  // [states] of each row, ld_parameters apart
  size_t ld_parameters;
  const float* d;  // [channels], or one number for all
  bool d_per_channel;
  float* state;  // [channels, states]
  float* y;
  size_t ld_y;
};

struct ScanKernels {
  // y[t] = silu(s), s = bias, then s = fma(weight[j], x[t - taps + 1 + j], s) for j ascending; rows before
  // the first are the history's.
  void (*convolve)(const ConvolveRows& rows);

  // Per channel and row, with dt = softplus(step), w = dt * v, y = 0; for k ascending:
  //   state[k] = fma(exp_bounded(dt * a[k]), state[k], w * b[k]);  y = fma(state[k], c[k], y)
  // then y = fma(d, v, y) * silu(z).
  void (*selective_scan)(const ScanRows& rows);

  // dt = softplus(step + bias), max(low, dt), min(high, dt); decay = exp_bounded(dt * a).
  void (*dual_steps)(const DualSteps& steps);

  // Per channel and row, with w = dt * v: state[k] = fma(decay, state[k], w * b[k]); y = sum of state[k] *
  // c[k] in the 16 lanes of rows.h, each product by fma; y = fma(d, v, y).
  void (*dual_scan)(const DualScanRows& rows);

  // y[i] = y[i] * silu(z[i])
  void (*gate)(const float* z, size_t n, float* y);
};

}  // namespace lsrt
