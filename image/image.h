// Photographs to what an image classifier takes: decoding of JPEG and PNG files, resizing, cropping. Files
// are hostile input: whatever is wrong with one comes back as Error::kFile with its name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace lsrt {

// Larger ones are refused, so that a small file cannot ask for any amount of memory.
inline constexpr uint64_t kMaxImagePixels = uint64_t{1} << 27;

// Red, green, blue, 8 bits each.
struct Image {
  uint32_t width = 0, height = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3]
};

// A JPEG or PNG file, recognised by content. Grey and CMYK become RGB, transparency is dropped, 16 bits are
// cut to 8; a JPEG is turned upright as its EXIF orientation says.
Result<Image> load_image(const std::string& path);
// The same for bytes in memory; `name` stands for the path in messages.
Result<Image> decode_image(const uint8_t* data, size_t size, const std::string& name);

// A part of an image, in its pixels.
struct Crop {
  uint64_t left = 0, top = 0;
  uint32_t width = 0, height = 0;  // >= 1
};

// The crop of the image resized to width x height, in which it must lie. Bicubic (a = -0.5), with the filter
// widened where the image shrinks; the same bytes as Pillow makes. The resized image may have any extents:
// only the crop is computed, in time of crop.width x the rows that it needs x the filter's length.
Image resize_image(const Image& image, uint64_t width, uint64_t height, const Crop& crop);

// The shorter side resized to `resize` (0: size), then size x size cropped from the centre. size <= resize.
Image fit_image(const Image& image, uint32_t resize, uint32_t size);

// The formats, each for data that looks like it.
Result<Image> decode_jpeg(const uint8_t* data, size_t size, const std::string& name);
Result<Image> decode_png(const uint8_t* data, size_t size, const std::string& name);

// Allocates the pixels. Error::kFile: no pixels or too many.
Result<Image> make_image(uint64_t width, uint64_t height, const std::string& name);

}  // namespace lsrt
