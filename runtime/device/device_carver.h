// Hands out pieces of one block of a device's memory, as Carver does of the host's.
#pragma once

#include "base/carver.h"
#include "runtime/device/backend.h"

namespace lsrt {

class DeviceCarver {
 public:
  DeviceCarver() = default;  // only counts
  DeviceCarver(const Backend& backend, Dev<void> memory)
      : backend_(&backend), fences_(true), base_(memory.as<uint8_t>()) {}

  template <typename T>
  Dev<T> take(size_t count) {
    const size_t bytes = count * sizeof(T), taken = Carver::taken(bytes);
    Dev<uint8_t> piece = backend_ ? base_ + used_ : base_;
    if (kRedzone && fences_) backend_->fence(piece + bytes, taken - bytes);
    used_ += taken;
    return Dev<void>(piece).as<T>();
  }
  size_t used() const { return used_; }
  // Goes on at the same place; for memory that is cut in several ways, one after another.
  DeviceCarver shared() const {
    DeviceCarver other = *this;
    other.fences_ = false;
    return other;
  }

 private:
  const Backend* backend_ = nullptr;
  bool fences_ = false;
  Dev<uint8_t> base_;
  size_t used_ = 0;
};

}  // namespace lsrt
