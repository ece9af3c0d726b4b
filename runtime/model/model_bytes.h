// A whole model file in memory that was made there: random models, tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include "base/pages.h"

namespace lsrt {

// Allocates where the weights of a model file may lie, so that a model in memory is used without a copy.
template <typename T>
struct WeightAllocator {
  using value_type = T;
  WeightAllocator() = default;
  template <typename U>
  WeightAllocator(const WeightAllocator<U>&) {}
  T* allocate(size_t n) {
    void* memory = map_pages(n * sizeof(T));
    if (!memory) throw std::bad_alloc();
    return static_cast<T*>(memory);
  }
  void deallocate(T* data, size_t n) { unmap_pages(data, n * sizeof(T)); }
  friend bool operator==(const WeightAllocator&, const WeightAllocator&) { return true; }
  friend bool operator!=(const WeightAllocator&, const WeightAllocator&) { return false; }
};
using ModelBytes = std::vector<uint8_t, WeightAllocator<uint8_t>>;

}  // namespace lsrt
