// Chooses tokens from log-probabilities. The same parameters, seed and log-probabilities give the same tokens
// on every machine: the random numbers and exponentials are made here, of exactly rounded operations only,
// and ties go to the lowest id. Weights are integers, whose sums do not depend on an order: of a large
// vocabulary only the tokens near the one that is chosen are sorted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "runtime/device/ops_choose.h"

namespace lsrt {

// Applied in this order: repetition penalty, temperature, top-k, top-p, min-p.
struct SamplerParams {
  float temperature = 0.8f;  // 0: the most probable token, always
  uint32_t top_k = 0;        // 0: all
  float top_p = 1;           // 1: all
  float min_p = 0;           // 0: all
  float repeat_penalty = 1;  // 1: none
  uint32_t repeat_window = 64;
  uint64_t seed = 0;
};

inline constexpr uint32_t kMaxRepeatWindow = 1 << 16;

// What a sampler must keep to go on exactly; part of snapshots.
struct SamplerState {
  uint64_t random[4] = {0, 0, 0, 0};  // never all zero
  int32_t last = -1;                  // the last token of all, -1: none yet
  std::vector<int32_t> recent;        // the last tokens, oldest first, at most repeat_window
};

class Sampler {
 public:
  // Errors: kArgument (a parameter out of range; no token with text).
  static Result<Sampler> create(const std::vector<std::string>& vocabulary, const SamplerParams& params);

  // Takes note of a token that was not chosen here. Ids outside the vocabulary are ignored.
  void accept(int32_t token);
  // Chooses among the ids with text, and accepts the choice. Errors: kArgument (no number among the
  // log-probabilities).
  Result<int32_t> sample(const float* logprobs);

  // The parts of sample() where a device chooses (ChooseOps): what the next choice depends on, the distinct
  // ids that are penalized, and what becomes of its result. Nothing has changed until that is accepted.
  Draw next_draw() const;
  const std::vector<int32_t>& penalized();
  Result<int32_t> accept_choice(int32_t token);  // -1: the error of sample()
  // [vocabulary]: room for what sample() takes, where the caller has none.
  float* logprobs() { return logprobs_.data(); }

  int32_t last() const { return state_.last; }
  const SamplerState& state() const { return state_; }
  // Goes on from another sampler's state; of more recent tokens than repeat_window the last ones count.
  // Errors: kArgument (a state that no sampler of this vocabulary can be in); nothing has changed then.
  Status restore(const SamplerState& state);
  Status check(const SamplerState& state) const;  // the errors of restore()

 private:
  struct Candidate {
    double score;     // logarithm of the weight
    uint64_t weight;  // base/token_weights.h
    int32_t id;
  };

  Sampler() = default;
  void penalize();
  void weigh();
  size_t cut();
  const Candidate& ranked(size_t i);
  uint64_t total_weight(size_t n) const;  // of the first n, in whatever order
  int32_t draw(double uniform);

  SamplerParams params_;
  SamplerState state_;
  std::vector<int32_t> with_text_;
  std::vector<Candidate> candidates_;
  std::vector<double> exponentials_;
  size_t ranked_ = 0;           // so many of them are the best ones in order
  std::vector<bool> repeated_;  // by id
  std::vector<int32_t> penalized_;
  std::vector<float> logprobs_;
};

}  // namespace lsrt
