// One stream of text through a causal language model: constant memory and constant time per token, however
// long it gets.
//
// A session owns its state and scratch, all allocated when it is created; feeding tokens allocates nothing.
// How a text is split into calls does not change any result. Sessions of one model share it; each is used by
// one thread at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runtime/causal_network.h"

namespace lsrt {

struct SamplerState;  // runtime/sampler.h

class Session {
 public:
  // Errors: kArgument (not a language model; block or memory that do not fit it), kMemory.
  static Result<std::unique_ptr<Session>> create(std::shared_ptr<const Model> model,
                                                 std::shared_ptr<Backend> backend,
                                                 const CausalOptions& options);

  size_t vocabulary() const { return network_->vocabulary(); }
  size_t block() const { return network_->shape().block; }
  size_t memory() const { return network_->shape().memory; }
  const CausalMemory& memory_use() const { return network_->memory(); }
  uint64_t position() const { return position_; }  // tokens fed so far

  // Which log-probabilities of next tokens feed() returns.
  enum class Output { kNone, kLast, kAll };
  // Asked before every step of at most a block: tokens done of this call; false stops.
  using Progress = std::function<bool(size_t done)>;

  // Feeds n tokens. log_probabilities: none, [vocabulary] or [n, vocabulary]. Errors: kArgument (an id
  // outside the vocabulary; nothing is fed), kCancelled (tokens already done stay fed: see position()).
  Status feed(const int32_t* tokens, size_t n, Output output, float* log_probabilities,
              const Progress& progress = {});

  // Forgets everything: the next token is the first of a new stream.
  void reset();

  // The stream's state in a file, to go on from exactly here with the same model, block, memory and max_rows,
  // on any number of threads; with a sampler's state beside it where given (load: the file must have one).
  // Errors of load: kFile, kModel (damaged, or of another model or shape), kVersion; the session is then
  // unchanged.
  Status save(const std::string& path, const SamplerState* sampler = nullptr);
  Status load(const std::string& path, SamplerState* sampler = nullptr);

 private:
  Session() = default;

  std::shared_ptr<const Model> model_;
  std::unique_ptr<CausalNetwork> network_;
  uint64_t position_ = 0;
};

// In place: logits of n ids to log-probabilities, in double.
void log_softmax(float* logits, size_t n);

}  // namespace lsrt
