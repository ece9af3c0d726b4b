// The kernels of this build, as the driver loads them.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"

namespace lsrt {
namespace cuda {

// For which devices they are, for messages.
extern const char* const kArchitectures;

// A fatbin. Errors: kMemory.
Result<std::vector<uint8_t>> kernel_image();

}  // namespace cuda
}  // namespace lsrt
