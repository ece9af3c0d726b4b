// How far two arrays of numbers lie apart: the one comparison behind goldens, verification and tests.
#pragma once

#include <cmath>
#include <cstddef>
#include <type_traits>

namespace lsrt {

// The largest |a[i] - b[i]| of n pairs, in the wider of the two types; 0 where n is 0. NaN as soon as one
// difference is NaN, wherever it stands, so that no test of the form `difference <= bound` passes with it.
template <typename A, typename B>
std::common_type_t<A, B> largest_difference(const A* a, const B* b, size_t n) {
  using Wide = std::common_type_t<A, B>;
  Wide largest = 0;
  for (size_t i = 0; i < n; ++i) {
    const Wide difference = std::fabs(static_cast<Wide>(a[i]) - static_cast<Wide>(b[i]));
    if (std::isnan(difference)) return difference;
    if (difference > largest) largest = difference;
  }
  return largest;
}

}  // namespace lsrt
