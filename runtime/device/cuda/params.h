// From the runtime's structs to those of the kernels.
#pragma once

#include "kernels/cuda/params.h"
#include "runtime/device/backend.h"

namespace lsrt {

inline uint32_t word(size_t n) { return static_cast<uint32_t>(n); }

inline cuda::Norm cuda_norm(const DeviceNorm& norm) {
  return {norm.gamma.address(), norm.beta.address(), norm.eps, norm.kind == NormKind::kRms};
}

inline cuda::Activate cuda_activation(Activation activation) {
  return activation == Activation::kGelu   ? cuda::Activate::kGelu
         : activation == Activation::kRelu ? cuda::Activate::kRelu
                                           : cuda::Activate::kNone;
}

}  // namespace lsrt
