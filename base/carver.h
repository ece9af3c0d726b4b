// Hands out pieces of one block of memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/redzone.h"

namespace lsrt {

// Each piece is 64-byte aligned. Without memory it only counts, so that one function both plans and places.
// Under AddressSanitizer pieces do not touch: what lies between them may not be accessed.
class Carver {
 public:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t kMostPadding = kAlignment - 1 + kRedzone;  // bytes behind a piece

  // What a piece of this many bytes takes.
  static constexpr size_t taken(size_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment + kRedzone;
  }

  explicit Carver(void* memory) : base_(static_cast<uint8_t*>(memory)) {}
  // Of memory that is cut in several ways, one after another: no cut may close what another one uses.
  static Carver shared(void* memory) {
    Carver carver(memory);
    carver.fences_ = false;
    return carver;
  }
  template <typename T>
  T* take(size_t count) {
    const size_t bytes = count * sizeof(T);
    uint8_t* piece = base_ ? base_ + used_ : nullptr;
    if (piece && fences_) {
      open_memory(piece, bytes);
      close_memory(piece + bytes, taken(bytes) - bytes);
    }
    used_ += taken(bytes);
    return reinterpret_cast<T*>(piece);
  }
  size_t used() const { return used_; }

 private:
  uint8_t* base_;
  bool fences_ = true;
  size_t used_ = 0;
};

}  // namespace lsrt
