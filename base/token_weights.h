// Weights of tokens as integers, and what is asked of their sums: the same for every order in which they are
// added, on the host and on a device.
#pragma once

#include <cmath>

#include "base/exact_math.h"

namespace lsrt {

constexpr double kBestWeight = 0x1p40;  // of the most probable; 0 below 2^-41 of that, never chosen

// exponential: of (score - best) / temperature, 0 to 1.
LSRT_ANYWHERE inline uint64_t weight_of(double exponential) {
  return static_cast<uint64_t>(exponential * kBestWeight + 0.5);
}
// What the fewest tokens of top-p have together, of a total above 0: 1 to total.
LSRT_ANYWHERE inline uint64_t enough_weight(float top_p, uint64_t total) {
  const auto enough = static_cast<uint64_t>(ceil(top_p * static_cast<double>(total)));
  return enough < 1 ? 1 : enough < total ? enough : total;
}
// What each of min-p has at least: at most the best one's.
LSRT_ANYWHERE inline uint64_t least_weight(float min_p) {
  return static_cast<uint64_t>(ceil(min_p * kBestWeight));
}
// The first token with which the sum of weights is above this is the one that is drawn; uniform is 0 to 1, 1
// excluded.
LSRT_ANYWHERE inline uint64_t drawn_weight(double uniform, uint64_t total) {
  const auto drawn = static_cast<uint64_t>(uniform * static_cast<double>(total));
  return drawn < total ? drawn : total - 1;
}

}  // namespace lsrt
