// The kernel of filters of a grid: the circular convolution in plain double precision, and the same bits on
// every kernel set, however channels are cut.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/exact_math.h"
#include "kernels/dispatch.h"

using namespace lsrt;

namespace {

std::mt19937 generator(9);

std::vector<float> normal(size_t n) {
  std::normal_distribution<float> values;
  std::vector<float> x(n);
  for (float& v : x) v = values(generator);
  return x;
}

// Equal bits; a NaN equals any NaN.
bool same(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0 && !(std::isnan(a[i]) && std::isnan(b[i])))
      return false;
  }
  return true;
}

std::vector<const Kernels*> all_sets() {
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  return {sets, sets + count};
}

constexpr float kUntouched = 7;

// A grid's rows with room beside the channels, which nothing may touch.
struct Case {
  size_t n, channels, ld;
  std::vector<float> x, kernel, cosines, sines, spectrum;

  Case(size_t n, size_t channels) : n(n), channels(channels), ld(channels + 3) {
    const size_t frequencies = filter_frequencies(n);
    x = normal(n * n * ld), kernel = normal(channels * n * n);
    for (size_t f = 0; f < frequencies; ++f) {
      for (size_t u = 0; u < n; ++u) {
        const UnitRoot root = exact_root(f * u, n);
        cosines.push_back(static_cast<float>(root.re)), sines.push_back(static_cast<float>(root.im));
      }
    }
    spectrum.assign(n * frequencies * 2 * ld, kUntouched);
    for (size_t c = 0; c < channels; ++c) {
      for (size_t i = 0; i < n; ++i) {
        for (size_t f = 0; f < frequencies; ++f) {
          double re = 0, im = 0;
          for (size_t j = 0; j < n; ++j) {
            const UnitRoot root = exact_root(f * j, n);
            re += kernel[(c * n + i) * n + j] * root.re, im += kernel[(c * n + i) * n + j] * root.im;
          }
          const double weight = (f == 0 || 2 * f == n ? 1.0 : 2.0) / static_cast<double>(n);
          float* to = &spectrum[2 * (i * frequencies + f) * ld + c];
          to[0] = static_cast<float>(re * weight), to[ld] = static_cast<float>(im * weight);
        }
      }
    }
  }

  // Channels [c, c + m) of `from` into `to`, which may be one.
  void run(const Kernels& k, size_t c, size_t m, const std::vector<float>& from,
           std::vector<float>* to) const {
    std::vector<float> scratch(filter_scratch_floats(n), std::numeric_limits<float>::quiet_NaN());
    k.filter.global_filter(
        {n, m, &from[c], ld, cosines.data(), sines.data(), &spectrum[c], ld, scratch.data(), &(*to)[c], ld});
  }
};

const Case kCases[] = {{1, 1},  {2, 5},  {3, 16}, {4, 33},  {5, 7},   {6, 48},
                       {7, 19}, {8, 24}, {9, 4},  {14, 37}, {15, 16}, {28, 9}};

TEST_CASE("the filter is the circular convolution of the grid") {
  KernelChoice choice;
  double worst = 0;
  for (const Case& test : kCases) {
    const size_t n = test.n;
    std::vector<float> y(test.x.size());
    test.run(*find_kernels("scalar", &choice), 0, test.channels, test.x, &y);
    for (size_t r = 0; r < n; ++r) {
      for (size_t u = 0; u < n; ++u) {
        for (size_t c = 0; c < test.channels; ++c) {
          double sum = 0, size = 0;
          for (size_t i = 0; i < n; ++i) {
            for (size_t j = 0; j < n; ++j) {
              const float x = test.x[((r + n - i) % n * n + (u + n - j) % n) * test.ld + c];
              const double term = double{test.kernel[(c * n + i) * n + j]} * x;
              sum += term, size += term * term;
            }
          }
          worst = std::max(worst, std::fabs(y[(r * n + u) * test.ld + c] - sum) / (1e-3 + std::sqrt(size)));
        }
      }
    }
  }
  MESSAGE("largest difference, of the root of the sum of squared terms: " << worst);
  CHECK(worst < 3e-6);  // measured: 1.1e-6
}

TEST_CASE("the same bits on every kernel set, however channels are cut, and in place") {
  for (const Case& original : kCases) {
    for (const bool damaged : {false, true}) {
      Case test = original;
      if (damaged) {
        test.x[generator() % test.x.size()] = std::numeric_limits<float>::quiet_NaN();
        test.x[generator() % test.x.size()] = std::numeric_limits<float>::infinity();
        test.x[generator() % test.x.size()] = 1e30f;
      }
      CAPTURE(test.n);
      CAPTURE(test.channels);
      KernelChoice choice;
      const std::vector<float> untouched(test.x.size(), kUntouched);
      std::vector<float> expected = untouched;
      test.run(*find_kernels("scalar", &choice), 0, test.channels, test.x, &expected);
      for (size_t row = 0; row < test.n * test.n; ++row) {
        for (size_t c = test.channels; c < test.ld; ++c) CHECK(expected[row * test.ld + c] == kUntouched);
      }
      for (const Kernels* set : all_sets()) {
        CAPTURE(std::string(set->isa));
        std::vector<float> whole = untouched, pieces = untouched, in_place = test.x;
        test.run(*set, 0, test.channels, test.x, &whole);
        CHECK(same(whole, expected));
        for (size_t c = 0, m; c < test.channels; c += m) {
          m = std::min<size_t>(1 + generator() % 20, test.channels - c);
          test.run(*set, c, m, test.x, &pieces);
        }
        CHECK(same(pieces, expected));
        test.run(*set, 0, test.channels, in_place, &in_place);
        for (size_t row = 0; row < test.n * test.n; ++row) {
          for (size_t c = test.channels; c < test.ld; ++c) in_place[row * test.ld + c] = kUntouched;
        }
        CHECK(same(in_place, expected));
      }
    }
  }
}

TEST_CASE("roots of one are those of the C library") {
  for (uint64_t n = 1; n < 300; ++n) {
    for (uint64_t k = 0; k < 2 * n; ++k) {
      const UnitRoot root = exact_root(k, n);
      const double angle = 6.283185307179586 * static_cast<double>(k) / static_cast<double>(n);
      REQUIRE(std::fabs(root.re - std::cos(angle)) < 3e-15);
      REQUIRE(std::fabs(root.im - std::sin(angle)) < 3e-15);
    }
    CHECK(exact_root(0, n).re == 1);
    CHECK(exact_root(n, 2 * n).re == -1);
    CHECK(exact_root(n, 4 * n).im == 1);
    CHECK(exact_root(3 * n, 4 * n).im == -1);
    CHECK(exact_root(n, 4 * n).re == 0);
  }
}

}  // namespace
