// exp, log, and sines in double from basic operations alone, in one order, so that they have the same bits on
// every machine: those of the system's library differ between systems. Errors below 2 units in the last
// place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

// A CUDA compiler makes these for the device, too.
#ifdef __CUDACC__
#define LSRT_ANYWHERE __host__ __device__
#else
#define LSRT_ANYWHERE
#endif

namespace lsrt {

// 1 / k!, k at most 13: of the series of exp.
LSRT_ANYWHERE inline double inverse_factorial(int k) {
  constexpr double kInverse[] = {1,
                                 1,
                                 1.0 / 2,
                                 1.0 / 6,
                                 1.0 / 24,
                                 1.0 / 120,
                                 1.0 / 720,
                                 1.0 / 5040,
                                 1.0 / 40320,
                                 1.0 / 362880,
                                 1.0 / 3628800,
                                 1.0 / 39916800,
                                 1.0 / 479001600,
                                 1.0 / 6227020800};
  return kInverse[k];
}

// 0 below -700 (and for NaN), 2^1009 and less above: what is asked for is at most 0.
LSRT_ANYWHERE inline double exact_exp(double x) {
  if (!(x >= -700)) return 0;
  if (x > 700) x = 700;
  // x = n ln 2 + r, |r| <= ln(2) / 2; exp(r) by its series.
  constexpr double kLog2E = 1.4426950408889634, kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
  const double shifted = x * kLog2E + (x < 0 ? -0.5 : 0.5);
  const auto n = static_cast<int64_t>(shifted);  // towards 0
  const double r = (x - static_cast<double>(n) * kLn2High) - static_cast<double>(n) * kLn2Low;
  double sum = inverse_factorial(13);
  for (int k = 12; k >= 0; --k) sum = inverse_factorial(k) + sum * r;
  const uint64_t bits = static_cast<uint64_t>(n + 1023) << 52;
  double power;
  std::memcpy(&power, &bits, sizeof power);
  return sum * power;
}

// The same of each of n numbers, in place. Every operation is a loop of its own over a few of them, which a
// compiler can do in vectors.
inline void exact_exp(double* x, size_t n) {
  constexpr size_t kBlock = 32;
  constexpr double kLog2E = 1.4426950408889634, kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
  for (; n >= kBlock; x += kBlock, n -= kBlock) {
    double bounded[kBlock], r[kBlock], sum[kBlock], power[kBlock];
    int32_t exponent[kBlock];
    for (size_t i = 0; i < kBlock; ++i) {
      const double v = x[i] >= -700 ? x[i] : -700;
      bounded[i] = v > 700 ? 700 : v;
    }
    for (size_t i = 0; i < kBlock; ++i) {
      const double shifted = bounded[i] * kLog2E + (bounded[i] < 0 ? -0.5 : 0.5);
      exponent[i] = static_cast<int32_t>(shifted);  // towards 0
      r[i] = (bounded[i] - exponent[i] * kLn2High) - exponent[i] * kLn2Low;
      sum[i] = inverse_factorial(13);
    }
    for (int k = 12; k >= 0; --k) {
      const double term = inverse_factorial(k);
      for (size_t i = 0; i < kBlock; ++i) sum[i] = term + sum[i] * r[i];
    }
    for (size_t i = 0; i < kBlock; ++i) {
      const uint64_t bits = static_cast<uint64_t>(exponent[i] + 1023) << 52;
      std::memcpy(&power[i], &bits, sizeof power[i]);
    }
    for (size_t i = 0; i < kBlock; ++i) x[i] = x[i] >= -700 ? sum[i] * power[i] : 0;
  }
  for (size_t i = 0; i < n; ++i) x[i] = exact_exp(x[i]);
}

// x is a positive normal number or infinity; what is none gives NaN.
LSRT_ANYWHERE inline double exact_log(double x) {
  if (!(x >= 0x1p-1022)) return x == 0 ? -__builtin_huge_val() : __builtin_nan("");
  if (x == __builtin_huge_val()) return x;
  // x = 2^n f, f in sqrt(1/2) .. sqrt(2); log f = 2 atanh((f - 1) / (f + 1)) by its series.
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  int64_t n = static_cast<int64_t>(bits >> 52) - 1023;
  bits = (bits & 0xFFFFFFFFFFFFF) | uint64_t{1023} << 52;
  double f;
  std::memcpy(&f, &bits, sizeof f);
  if (f > 1.4142135623730951) f *= 0.5, ++n;
  const double z = (f - 1) / (f + 1), z2 = z * z;
  double sum = 0;
  for (int k = 21; k > 0; k -= 2) sum = 1.0 / k + sum * z2;
  constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
  return static_cast<double>(n) * kLn2High + (2 * z * sum + static_cast<double>(n) * kLn2Low);
}

// cos and sin of 2 pi k / n, n > 0: a point of the unit circle.
struct UnitRoot {
  double re, im;
};
inline UnitRoot exact_root(uint64_t k, uint64_t n) {
  // The angle is an eighth turn t, 0 <= t <= 1, within one of eight octants, of which every other is
  // mirrored.
  k %= n;
  const uint64_t octant = 8 * k / n, left = 8 * k - octant * n, part = octant % 2 ? n - left : left;
  const double x = static_cast<double>(part) / static_cast<double>(n) * 0.78539816339744831, x2 = x * x;
  double cosine = 1, sine = 1;  // the series, from their ends
  for (int i = 18; i > 0; i -= 2) {
    cosine = 1 - cosine * x2 / (i * (i - 1));
    sine = 1 - sine * x2 / (i * (i + 1));
  }
  sine *= x;
  const bool swapped = (octant + 1) / 2 % 2;  // octants 1, 2, 5, 6 are nearer to the imaginary axis
  const double re = swapped ? sine : cosine, im = swapped ? cosine : sine;
  return {octant >= 2 && octant < 6 ? -re : re, octant >= 4 ? -im : im};
}

}  // namespace lsrt
