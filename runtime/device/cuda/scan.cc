// Selective state spaces on CUDA.
#include "runtime/device/cuda/cuda.h"
#include "runtime/device/cuda/params.h"

namespace lsrt {

void CudaScanOps::convolve(Stream& stream, const ScanConvolution& s) const {
  const auto launched = stream.launched("scan_convolve", s.rows);
  const CudaStream& cuda = cuda_stream(stream);
  cuda.launch(cuda::ScanConvolveParams{s.x.address(), s.weight.address(), s.bias.address(),
                                       s.history.address(), s.y.address(), s.x_stride, word(s.rows),
                                       word(s.channels), word(s.taps)});
  cuda.launch(cuda::ScanHistoryParams{s.x.address(), s.history.address(), s.x_stride, word(s.rows),
                                      word(s.channels), word(s.taps)});
}

void CudaScanOps::selective_scan(Stream& stream, const SelectiveScanRows& s) const {
  const auto launched = stream.launched("selective_scan", s.rows);
  cuda_stream(stream).launch(
      cuda::SelectiveScanParams{s.v.address(), s.step.address(), s.z.address(), s.b.address(), s.c.address(),
                                s.a.address(), s.d.address(), s.state.address(), s.y.address(), s.z_stride,
                                s.parameter_stride, word(s.rows), word(s.channels), word(s.states)});
}

void CudaScanOps::dual_scan(Stream& stream, const DualScan& s) const {
  const auto launched = stream.launched("dual_scan", s.rows);
  const CudaStream& cuda = cuda_stream(stream);
  cuda.launch(cuda::DualStepsParams{s.step.address(), s.step_bias.address(), s.a.address(), s.steps.address(),
                                    s.step_stride, s.step_min, s.step_max, word(s.rows), word(s.heads)});
  cuda.launch(cuda::DualScanParams{s.v.address(), s.b.address(), s.c.address(), s.d.address(),
                                   s.steps.address(), s.state.address(), s.y.address(), s.stride,
                                   s.d_per_channel, word(s.rows), word(s.heads), word(s.groups),
                                   word(s.head_dim), word(s.states)});
}

void CudaScanOps::gated_norm(Stream& stream, const GatedNorm& s) const {
  const auto launched = stream.launched("gated_norm", s.rows);
  cuda_stream(stream).launch(cuda::GatedNormParams{cuda_norm(s.norm), s.z.address(), s.y.address(),
                                                   s.z_stride, word(s.rows), word(s.width), word(s.groups)});
}

}  // namespace lsrt
