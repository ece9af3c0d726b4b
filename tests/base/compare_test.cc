// The comparison that goldens, verification and tests rely on.
#include "base/compare.h"

#include <doctest/doctest.h>

#include <limits>
#include <type_traits>
#include <vector>

using lsrt::largest_difference;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

float difference_from_zeros(const std::vector<float>& values) {
  return largest_difference(values.data(), std::vector<float>(values.size()).data(), values.size());
}

}  // namespace

TEST_CASE("the largest of the differences, whatever its sign and place") {
  CHECK(difference_from_zeros({}) == 0);
  CHECK(difference_from_zeros({0.25f, -0.5f, 0.125f}) == 0.5f);
  CHECK(difference_from_zeros({-2, 1}) == 2);
  CHECK(difference_from_zeros({1, -2}) == 2);
  CHECK(difference_from_zeros({0, kInfinity, 1}) == kInfinity);
}

TEST_CASE("NaN is the largest wherever it stands, and passes no bound") {
  for (size_t place = 0; place < 4; ++place) {
    std::vector<float> values = {0.1f, 0.3f, 0.2f, 0.05f};
    values[place] = kNan;
    CAPTURE(place);
    CHECK(std::isnan(difference_from_zeros(values)));
    CHECK_FALSE(difference_from_zeros(values) <= kInfinity);
  }
  // Equal infinities do not count as equal either: such numbers are no results.
  CHECK(std::isnan(largest_difference(&kInfinity, &kInfinity, 1)));
}

TEST_CASE("the difference is taken in the wider type") {
  const float a = 1;
  const double b = 1 + 1e-12;
  static_assert(std::is_same_v<decltype(largest_difference(&a, &b, 1)), double>);
  static_assert(std::is_same_v<decltype(largest_difference(&a, &a, 1)), float>);
  CHECK(largest_difference(&a, &b, 1) == doctest::Approx(1e-12).epsilon(1e-3));
}
