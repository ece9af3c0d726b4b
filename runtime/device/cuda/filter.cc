// Filters of a grid on CUDA.
#include "runtime/device/cuda/cuda.h"
#include "runtime/device/cuda/params.h"

namespace lsrt {
namespace {

// Of one spectrum of all channels.
size_t spectrum_floats(const GlobalFilterRows& p) { return p.grid * (p.grid / 2 + 1) * 2 * p.width; }

}  // namespace

void CudaFilterOps::plan(const GlobalFilterRows& shape, StreamPlan* plan) const {
  plan->need(2 * spectrum_floats(shape) * sizeof(float));
}

void CudaFilterOps::global_filter(Stream& stream, const GlobalFilterRows& p) const {
  const auto launched = stream.launched("global_filter", p.grid * p.grid);
  const CudaStream& cuda = cuda_stream(stream);
  float *spectrum = cuda.workspace().as<float>().address(), *product = spectrum + spectrum_floats(p);
  const uint32_t grid = word(p.grid), width = word(p.width);
  const float *cosines = p.cosines.address(), *sines = p.sines.address();
  cuda.launch(cuda::FilterForwardParams{p.x.address(), cosines, sines, spectrum, grid, width});
  cuda.launch(cuda::FilterColumnsParams{spectrum, p.spectrum.address(), product, grid, width});
  cuda.launch(cuda::FilterBackParams{product, cosines, sines, p.y.address(), grid, width});
}

}  // namespace lsrt
