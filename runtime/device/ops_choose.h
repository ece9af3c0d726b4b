// A token is chosen from log-probabilities where they are, as Sampler (runtime/text/sampler.h) chooses it:
// the same ids. Optional: to a device that shares the host's memory it is of no use.
#pragma once

#include "runtime/device/dev.h"
#include "runtime/device/stream.h"

namespace lsrt {

// What a choice depends on beside log-probabilities and recent tokens (SamplerParams).
struct Draw {
  float temperature;  // 0: the most probable
  uint32_t top_k;     // 0: all
  float top_p, min_p, repeat_penalty;
  double uniform;  // a random number of 0 to 1, 1 excluded; of no use where temperature is 0
};

struct Choice {
  Draw draw;
  size_t vocabulary;
  Dev<const float> logprobs;     // [vocabulary]
  Dev<const uint8_t> with_text;  // [vocabulary]: 0 where an id is never chosen
  Dev<const int32_t> penalized;  // [penalized_count]: distinct ids
  size_t penalized_count;
  Dev<uint64_t> scratch;  // [2, vocabulary]
  Dev<int32_t> token;     // [1]: the choice; -1 where no id with text has a finite log-probability
};

class ChooseOps {
 public:
  virtual ~ChooseOps() = default;

  virtual void choose(Stream& stream, const Choice& choice) const = 0;
};

}  // namespace lsrt
