// Addresses in a device's memory, and views of the model's arrays there. The compiler tells them from the
// host's pointers: they can be moved and handed on, but not followed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "runtime/model/model.h"

namespace lsrt {

// T*, in the memory of a device. A plain word: structs of these can be handed to a kernel by value.
template <typename T>
class Dev {
 public:
  Dev() = default;
  Dev(std::nullptr_t) {}
  explicit Dev(T* address) : address_(address) {}  // for backends
  template <typename U, typename = std::enable_if_t<std::is_convertible_v<U*, T*>>>
  Dev(Dev<U> other) : address_(other.address()) {}

  Dev operator+(size_t n) const { return Dev(address_ + n); }
  Dev& operator+=(size_t n) { return *this = *this + n; }
  explicit operator bool() const { return address_ != nullptr; }
  template <typename U>
  Dev<U> as() const {
    return Dev<U>(static_cast<U*>(address_));
  }

  T* address() const { return address_; }  // for backends

 private:
  T* address_ = nullptr;
};

// NormView on the device.
struct DeviceNorm {
  Dev<const float> gamma;  // null: ones, which kRms may have
  Dev<const float> beta;   // null if kind is kRms
  float eps = 0;           // 0: no norm
  NormKind kind = NormKind::kLayer;
  explicit operator bool() const { return eps > 0; }
};

// TensorView on the device.
struct DeviceTensor {
  Dev<const void> data;  // null: none
  Dev<const float> scales;
  Dev<const int32_t> sums;
  DataType type = DataType::kFloat32;
  uint32_t rank = 0;
  uint32_t shape[4] = {0, 0, 0, 0};
  explicit operator bool() const { return static_cast<bool>(data); }
};

}  // namespace lsrt
