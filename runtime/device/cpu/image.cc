// Pictures on the CPU.
#include <cstring>

#include "runtime/device/cpu/cpu.h"

namespace lsrt {

void CpuImageOps::extract_patches(Stream& stream, const PatchSource& source, Dev<float> patches) const {
  const size_t grid = source.grid, p = source.patch, side = source.side(), channels = source.channels;
  const auto launched = stream.launched("extract_patches", grid * grid);
  cpu_stream(stream).parallel_rows(grid * grid, [&](size_t i, size_t) {
    const size_t top = i / grid * p, left = i % grid * p;
    const float* data = source.data.address();
    float* out = patches.address() + i * channels * p * p;
    if (source.layout == PatchSource::Layout::kPlanes) {
      for (size_t c = 0; c < channels; ++c) {
        for (size_t y = 0; y < p; ++y, out += p) {
          std::memcpy(out, data + (c * side + top + y) * side + left, p * sizeof(float));
        }
      }
      return;
    }
    for (size_t y = 0; y < p; ++y) {
      for (size_t x = 0; x < p; ++x) {
        const float* row = data + ((top + y) * side + left + x) * channels;
        for (size_t c = 0; c < channels; ++c) out[(c * p + y) * p + x] = row[c];
      }
    }
  });
}

}  // namespace lsrt
