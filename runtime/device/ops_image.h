// What is done to pictures.
#pragma once

#include "runtime/device/dev.h"
#include "runtime/device/stream.h"

namespace lsrt {

// A square picture that is cut into grid x grid patches of patch x patch.
struct PatchSource {
  enum class Layout { kPlanes, kRows };
  Layout layout;
  Dev<const float> data;  // kPlanes: [channels, side, side]; kRows: [side * side, channels]
  size_t channels, grid, patch;
  size_t side() const { return grid * patch; }
};

class ImageOps {
 public:
  virtual ~ImageOps() = default;

  // patches[grid * grid, channels * patch * patch], each in the order (channel, y, x).
  virtual void extract_patches(Stream& stream, const PatchSource& source, Dev<float> patches) const = 0;
};

}  // namespace lsrt
