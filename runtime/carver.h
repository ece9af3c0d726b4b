// Hands out pieces of one block of memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gemm.h"

namespace lsrt {

// Each piece is 64-byte aligned. Without memory it only counts, so that one function both plans and places.
class Carver {
 public:
  explicit Carver(void* memory) : base_(static_cast<uint8_t*>(memory)) {}
  template <typename T>
  T* take(size_t count) {
    T* piece = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += round_up(count * sizeof(T), 64);
    return piece;
  }
  size_t used() const { return used_; }

 private:
  uint8_t* base_;
  size_t used_ = 0;
};

}  // namespace lsrt
