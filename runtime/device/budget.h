// How much memory one session or classifier may take. A model file of a few kilobytes can name shapes that
// need any amount; the sum is known before anything is allocated, and refused here.
#pragma once

#include <cstddef>

#include "base/status.h"

namespace lsrt {

inline constexpr size_t kDefaultMaxBytes = size_t{4} << 30;

// max_bytes 0: the default. Error::kMemory naming both numbers.
inline Status within_budget(size_t bytes, size_t max_bytes) {
  const size_t most = max_bytes ? max_bytes : kDefaultMaxBytes;
  if (bytes <= most) return {};
  return fail(Error::kMemory,
              "the model needs %zu bytes to run this way, more than the %zu that max_bytes allows", bytes,
              most);
}

}  // namespace lsrt
