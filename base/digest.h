// A 64-bit digest that finds damage and tells things apart; no defence against somebody who looks for a
// collision. Any change of a single 8-byte word changes it for certain, any other change with a chance of 1
// in 2^64.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace lsrt {

class Digest {
 public:
  // Bytes, together with their number: (ab, c) is another text than (a, bc).
  void update(const void* data, size_t size) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    add(size);
    if (size >= sizeof(uint64_t) * kLanes) {
      // Lanes apart from each other, so that multiplications overlap.
      uint64_t lane[kLanes] = {1, 2, 3, 4};
      for (; size >= sizeof lane; bytes += sizeof lane, size -= sizeof lane) {
        for (size_t i = 0; i < kLanes; ++i) lane[i] = mixed(lane[i], word(bytes + i * sizeof(uint64_t), 8));
      }
      for (uint64_t value : lane) add(value);
    }
    for (; size >= 8; bytes += 8, size -= 8) add(word(bytes, 8));
    if (size) add(word(bytes, size));
  }
  uint64_t value() const { return sum_ ^ (sum_ >> 32); }

 private:
  static constexpr size_t kLanes = 4;

  static uint64_t word(const uint8_t* bytes, size_t n) {
    uint64_t w = 0;
    std::memcpy(&w, bytes, n);
    return w;
  }
  // A bijection of either argument.
  static uint64_t mixed(uint64_t sum, uint64_t w) {
    sum = (sum ^ w) * 0x9E3779B97F4A7C15;
    return (sum << 29) | (sum >> 35);
  }
  void add(uint64_t w) { sum_ = mixed(sum_, w); }

  uint64_t sum_ = 0x4C53525453544154;
};

}  // namespace lsrt
