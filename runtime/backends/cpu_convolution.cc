// Depthwise convolution along a document on the CPU: float32, in one fixed order.
#include "runtime/backends/cpu.h"
#include "runtime/backends/cpu_lanes.h"

namespace lsrt {

void CpuBackend::convolve(Stream& stream, const Convolution& c) {
  const auto positions = static_cast<int64_t>(c.positions);
  static_cast<CpuStream&>(stream).parallel(c.positions, [&](size_t t, size_t) {
    if (c.row_at[t] < 0) return;
    float* out = c.out + c.row_at[t] * c.out_stride;
    for (size_t s = 0; s < c.kernel; ++s) {
      const int64_t from = static_cast<int64_t>(t + s) - static_cast<int64_t>(c.kernel / 2);
      if (from < 0 || from >= positions || c.row_at[from] < 0) continue;
      const float* value = c.value + c.row_at[from] * c.stride;
      for (size_t head = 0; head < c.heads; ++head) {
        const size_t offset = head * c.head_dim;
        add_scaled(c.weight[head * c.kernel + s], value + offset, c.head_dim, out + offset);
      }
    }
  });
}

}  // namespace lsrt
