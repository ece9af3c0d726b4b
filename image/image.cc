#include "image/image.h"

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstring>

#include "base/mapped_file.h"

namespace lsrt {

Result<Image> make_image(uint64_t width, uint64_t height, const std::string& name) {
  if (width == 0 || height == 0 || width > kMaxImagePixels || height > kMaxImagePixels / width) {
    return fail(Error::kFile,
                "%s: the image has %" PRIu64 " x %" PRIu64 " pixels, at most %" PRIu64 " are read",
                name.c_str(), width, height, kMaxImagePixels);
  }
  Image image;
  image.width = static_cast<uint32_t>(width);
  image.height = static_cast<uint32_t>(height);
  image.rgb.resize(width * height * 3);
  return image;
}

Result<Image> decode_image(const uint8_t* data, size_t size, const std::string& name) {
  static const uint8_t kPng[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  if (size >= 3 && data[0] == 0xFF && data[1] == 0xD8 && data[2] == 0xFF)
    return decode_jpeg(data, size, name);
  if (size >= sizeof kPng && std::memcmp(data, kPng, sizeof kPng) == 0) return decode_png(data, size, name);
  return fail(Error::kFile, "%s: not a JPEG or PNG image", name.c_str());
}

Result<Image> load_image(const std::string& path) {
  LSRT_ASSIGN(MappedFile file, MappedFile::open(path));
  return decode_image(file.data(), file.size(), path);
}

Image fit_image(const Image& image, uint32_t resize, uint32_t size) {
  const uint64_t shorter = std::min(image.width, image.height);
  if (resize == 0) resize = size;
  const uint64_t width = uint64_t{resize} * image.width / shorter;
  const uint64_t height = uint64_t{resize} * image.height / shorter;
  // Half of what is over, .5 to the even number: where torchvision crops.
  const auto margin = [size](uint64_t extent) {
    return static_cast<uint64_t>(std::nearbyint(static_cast<double>(extent - size) / 2));
  };
  return resize_image(image, width, height, {margin(width), margin(height), size, size});
}

}  // namespace lsrt
