// Random numbers that are the same on every machine, unlike the distributions of <random>.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace lsrt_test {

class Random {  // splitmix64
 public:
  explicit Random(uint64_t seed) : state_(seed * 0xd1342543de82ef95 + 1) {}

  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // low .. high, both included.
  uint32_t in(uint64_t low, uint64_t high) { return static_cast<uint32_t>(low + next() % (high - low + 1)); }
  bool chance(uint32_t percent) { return in(1, 100) <= percent; }
  float uniform(float low, float high) {
    return low + (high - low) * static_cast<float>(next() >> 40) * 0x1p-24f;
  }
  template <typename T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[in(0, values.size() - 1)];
  }
  // A divisor of n that is at least n / most.
  uint32_t divisor(uint32_t n, uint32_t most) {
    uint32_t found = 1, seen = 0;
    for (uint32_t d = 1; d <= n; ++d) {
      if (n % d == 0 && n / d <= most && in(0, seen++) == 0) found = d;
    }
    return found;
  }

 private:
  uint64_t state_;
};

}  // namespace lsrt_test
