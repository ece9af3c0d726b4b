// How many threads to use where the caller leaves the choice.
#pragma once

#include <cstdint>

#include "runtime/model/model.h"

namespace lsrt {

// Cores that this process may use: physical ones of its affinity mask, hyper-threads of one core counted
// once, and no more than the CPU time that its control group may take, rounded up. At least 1.
uint32_t usable_cores();

// `asked`, or where it is 0 as many as pay: one for every 2^18 multiply-adds of a mean block of the model
// (for one token, one image, one document of the greatest length), at least 1 and at most usable_cores().
// Less work than that is done by the time a second thread has heard of it.
uint32_t choose_threads(const Model& model, uint32_t asked);

}  // namespace lsrt
