// What happens to a picture that could be decoded.
#pragma once

#include "fuzz/fuzz.h"
#include "image/image.h"

namespace lsrt_fuzz {

inline void fit_picture(const lsrt::Result<lsrt::Image>& decoded) {
  if (!decoded.ok()) {
    require(decoded.status().code() == lsrt::Error::kFile, "a refusal is of the file");
    return;
  }
  const lsrt::Image& image = decoded.value();
  const uint64_t pixels = uint64_t{image.width} * image.height;
  require(pixels > 0 && pixels <= lsrt::kMaxImagePixels, "the extents are within the limits");
  require(image.rgb.size() == 3 * pixels, "all pixels are there");
  const lsrt::Image small = lsrt::fit_image(image, 9, 8);
  require(small.width == 8 && small.height == 8 && small.rgb.size() == 3 * 64, "it fits");
}

}  // namespace lsrt_fuzz
