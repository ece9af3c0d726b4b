// Launches of CUDA kernels on the emulator, and memory that stands for the device's; or on a device
// (on_device.cc).
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cuda/launch.h"
#include "tests/cuda/shim/emulator.h"
#include "tests/support/random.h"

namespace lsrt_test {

// An array on the device: an allocation of its own, so that AddressSanitizer sees what is beyond it.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t n = 0, T fill = T()) : n_(n) {
    if (n == 0) return;
    data_ = static_cast<T*>(emulation::allocate(n * sizeof(T)));
    if (!data_) std::abort();
    for (size_t i = 0; i < n; ++i) data_[i] = fill;
  }
  explicit DeviceArray(const std::vector<T>& from) : DeviceArray(from.size()) {
    for (size_t i = 0; i < n_; ++i) data_[i] = from[i];
  }
  ~DeviceArray() {
    if (data_) emulation::release(data_);
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  size_t size() const { return n_; }
  T& operator[](size_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  size_t n_;
};

// "", or what went wrong. most_blocks: of a grid, so that blocks that can do several tasks must.
template <typename Params>
std::string launch_error(const Params& params, uint32_t most_blocks = UINT32_MAX) {
  const lsrt::cuda::Launch launch = lsrt::cuda::launch_of(params);
  const char* name = lsrt::cuda::kKernelNames[static_cast<size_t>(launch.kernel)];
  const emulation::Kernel* kernel = emulation::find_kernel(name);
  if (!kernel || kernel->params_bytes != sizeof params) return std::string("no kernel ") + name;
  if (launch.shared_bytes > lsrt::cuda::kMaxSharedBytes) return "too much shared memory";
  return emulation::launch(*kernel, {std::min(launch.grid[0], most_blocks), launch.grid[1], 1},
                           {launch.threads, 1, 1}, launch.shared_bytes, &params);
}
template <typename Params>
void launch(const Params& params) {
  REQUIRE(launch_error(params) == "");
}

inline std::vector<float> floats(Random& random, size_t n, float most = 2) {
  std::vector<float> x(n);
  for (float& v : x) v = random.uniform(-most, most);
  return x;
}

// Equal bits; a NaN equals any NaN.
inline bool same_floats(const float* a, const float* b, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    if (std::memcmp(a + i, b + i, sizeof *a) != 0 && (a[i] == a[i] || b[i] == b[i])) {
      MESSAGE("element ", i, " of ", n, ": ", a[i], " and ", b[i]);
      return false;
    }
  }
  return true;
}

}  // namespace lsrt_test
