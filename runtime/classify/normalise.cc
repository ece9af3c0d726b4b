#include "runtime/classify/normalise.h"

namespace lsrt {

void normalise(const ImageInput& input, const uint8_t* images, size_t count, float* out) {
  const size_t plane = size_t{input.size} * input.size;
  for (size_t i = 0; i < count; ++i) {
    for (size_t p = 0; p < plane; ++p) {
      for (size_t c = 0; c < 3; ++c) {
        out[c * plane + p] = (static_cast<float>(images[p * 3 + c]) / 255.0f - input.mean[c]) / input.std[c];
      }
    }
    images += plane * 3;
    out += plane * 3;
  }
}

}  // namespace lsrt
