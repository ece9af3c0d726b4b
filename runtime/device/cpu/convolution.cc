// Depthwise convolution along a document on the CPU: float32, in one fixed order.
#include "runtime/device/cpu/cpu.h"
#include "runtime/device/cpu/lanes.h"

namespace lsrt {

void CpuGroupedOps::convolve(Stream& stream, const Convolution& c) const {
  const auto launched = stream.launched("convolve", c.rows);
  const auto positions = static_cast<int64_t>(c.positions);
  const size_t width = c.heads * c.head_dim;
  const int32_t *row_at = c.row_at.address(), *position_of = c.position_of.address();
  cpu_stream(stream).parallel_rows(c.rows, [&](size_t i, size_t) {
    const size_t row = c.first + i;
    float* out = c.out.address() + row * width;
    for (size_t s = 0; s < c.kernel; ++s) {
      const int64_t from = position_of[row] + static_cast<int64_t>(s) - static_cast<int64_t>(c.kernel / 2);
      if (from < 0 || from >= positions || row_at[from] < 0) continue;
      const float* value = c.value.address() + row_at[from] * width;
      for (size_t head = 0; head < c.heads; ++head) {
        const size_t offset = head * c.head_dim;
        add_scaled(c.weight.address()[head * c.kernel + s], value + offset, c.head_dim, out + offset);
      }
    }
  });
}

}  // namespace lsrt
