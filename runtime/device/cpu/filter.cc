// Filters of a grid on the CPU: a thread takes 16 channels through all steps.
#include <algorithm>

#include "runtime/device/cpu/cpu.h"

namespace lsrt {
namespace {

constexpr size_t kPiece = 16;  // channels: a line of the cache of every row

// Of all threads, [threads, filter_scratch_floats].
float* take_scratch(size_t grid, size_t threads, Carver* carver) {
  return carver->take<float>(threads * filter_scratch_floats(grid));
}

}  // namespace

void CpuFilterOps::plan(const GlobalFilterRows& shape, StreamPlan* plan) const {
  Carver carver(nullptr);
  take_scratch(shape.grid, plan->threads, &carver);
  plan->need(carver.used());
}

void CpuFilterOps::global_filter(Stream& stream, const GlobalFilterRows& p) const {
  const auto launched = stream.launched("global_filter", p.grid * p.grid);
  const CpuStream& cpu = cpu_stream(stream);
  Carver carver(cpu.workspace());
  float* scratch = take_scratch(p.grid, cpu.threads(), &carver);
  cpu.parallel((p.width + kPiece - 1) / kPiece, [&](size_t piece, size_t thread) {
    const size_t c = piece * kPiece;
    kernels_.filter.global_filter({p.grid, std::min(kPiece, p.width - c), p.x.address() + c, p.width,
                                   p.cosines.address(), p.sines.address(), p.spectrum.address() + c, p.width,
                                   scratch + thread * filter_scratch_floats(p.grid), p.y.address() + c,
                                   p.width});
  });
}

}  // namespace lsrt
