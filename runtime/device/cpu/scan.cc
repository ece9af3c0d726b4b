// Selective state spaces on the CPU: a thread takes a piece of channels through all rows.
#include <algorithm>

#include "runtime/device/cpu/cpu.h"

namespace lsrt {
namespace {

constexpr size_t kPiece = 128;  // channels: lines of the cache of every row

// f(first channel, channels) for all pieces.
template <typename F>
void for_pieces(Stream& stream, size_t channels, const F& f) {
  cpu_stream(stream).parallel((channels + kPiece - 1) / kPiece, [&](size_t piece, size_t) {
    const size_t first = piece * kPiece;
    f(first, std::min(kPiece, channels - first));
  });
}

}  // namespace

void CpuScanOps::convolve(Stream& stream, const ScanConvolution& s) const {
  const auto launched = stream.launched("scan_convolve", s.rows);
  for_pieces(stream, s.channels, [&](size_t c, size_t n) {
    const float* bias = s.bias ? s.bias.address() + c : nullptr;
    kernels_.scan.convolve({s.rows, n, s.taps, s.x.address() + c, s.x_stride, s.weight.address() + c,
                            s.channels, bias, s.history.address() + c, s.channels, s.y.address() + c,
                            s.channels});
  });
}

void CpuScanOps::selective_scan(Stream& stream, const SelectiveScanRows& s) const {
  const auto launched = stream.launched("selective_scan", s.rows);
  for_pieces(stream, s.channels, [&](size_t c, size_t n) {
    kernels_.scan.selective_scan({s.rows, n, s.states, s.v.address() + c, s.channels, s.step.address() + c,
                                  s.channels, s.z.address() + c, s.z_stride, s.b.address(), s.c.address(),
                                  s.parameter_stride, s.a.address() + c, s.d.address() + c,
                                  s.state.address() + c, s.channels, s.y.address() + c, s.channels});
  });
}

void CpuScanOps::dual_scan(Stream& stream, const DualScan& s) const {
  const auto launched = stream.launched("dual_scan", s.rows);
  float *dt = s.steps.address(), *decay = dt + s.rows * s.heads;
  kernels_.scan.dual_steps({s.rows, s.heads, s.step.address(), s.step_stride, s.step_bias.address(),
                            s.a.address(), s.step_min, s.step_max, dt, decay});
  const size_t width = s.heads * s.head_dim;
  cpu_stream(stream).parallel(s.heads, [&](size_t head, size_t) {
    const size_t first = head * s.head_dim, group = head / (s.heads / s.groups) * s.states;
    kernels_.scan.dual_scan({s.rows, s.head_dim, s.states, s.v.address() + first, s.stride, dt + head,
                             decay + head, s.heads, s.b.address() + group, s.c.address() + group, s.stride,
                             s.d.address() + (s.d_per_channel ? first : head), s.d_per_channel,
                             s.state.address() + first * s.states, s.y.address() + first, width});
  });
}

void CpuScanOps::gated_norm(Stream& stream, const GatedNorm& s) const {
  const auto launched = stream.launched("gated_norm", s.rows);
  const size_t part = s.width / s.groups;
  cpu_stream(stream).parallel_blocks(s.rows, [&](size_t first, size_t count, size_t) {
    float* y = s.y.address() + first * s.width;
    for (size_t i = 0; i < count; ++i) {
      kernels_.scan.gate(s.z.address() + (first + i) * s.z_stride, s.width, y + i * s.width);
    }
    for (size_t group = 0; group < s.groups; ++group) {
      DeviceNorm norm = s.norm;
      norm.gamma += group * part;
      normalise(kernels_.rows, norm, part, y + group * part, s.width, count, y + group * part, s.width);
    }
  });
}

}  // namespace lsrt
