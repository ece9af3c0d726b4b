// Images as a vision model takes them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/model/model.h"

namespace lsrt {

// images[count, size, size, 3], 8 bits, to out[count, 3, size, size]: (value / 255 - mean) / std of each
// channel.
void normalise(const ImageInput& input, const uint8_t* images, size_t count, float* out);

}  // namespace lsrt
