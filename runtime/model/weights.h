// What int8 weights must keep beside their shape.
#pragma once

#include "base/status.h"
#include "runtime/model/model.h"

namespace lsrt {

// Kernel sets differ in what they read: some use the stored row sums, some read the padding. All give the
// same bits only if every sum is the sum of its row, no weight is -128, and all padding (weights, scales) is
// zero. This recounts them, in one pass at the speed of memory. Error::kModel naming tensor and row, without
// the path.
Status check_int8(const TensorView& tensor);

}  // namespace lsrt
