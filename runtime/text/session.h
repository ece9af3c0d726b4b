// One stream of text through a causal language model: constant memory and constant time per token, however
// long it gets.
//
// A session owns its state and scratch, all allocated when it is created; feeding tokens allocates nothing.
// How a text is split into calls does not change any result. Sessions of one model share it; each is used by
// one thread at a time.
#pragma once

#include <memory>
#include <string>

#include "base/function_ref.h"
#include "base/status.h"
#include "runtime/text/causal_network.h"

namespace lsrt {

class Sampler;  // runtime/text/sampler.h

class Session {
 public:
  // Errors: kArgument (not a language model; block or memory that do not fit it), kMemory.
  static Result<std::unique_ptr<Session>> create(std::shared_ptr<Backend> backend,
                                                 const CausalOptions& options);

  size_t vocabulary() const { return network_->vocabulary(); }
  // 0 where they do not apply (Model::block).
  size_t block() const { return network_->extents().block; }
  size_t memory() const { return network_->extents().memory; }
  const CausalMemory& memory_use() const { return network_->memory(); }
  uint64_t position() const { return position_; }  // tokens fed so far

  // Which log-probabilities of next tokens feed() returns.
  enum class Output { kNone, kLast, kAll };
  // Asked before every step of at most a block: tokens done of this call; false stops.
  using Progress = FunctionRef<bool(size_t done)>;

  // Feeds n tokens. log_probabilities: none, [vocabulary] or [n, vocabulary]. Errors: kArgument (an id
  // outside the vocabulary; nothing is fed), kCancelled (tokens already done stay fed: see position()).
  Status feed(const int32_t* tokens, size_t n, Output output, float* log_probabilities,
              const Progress& progress = {});

  // Feeds n tokens, at least one, and chooses the token after the last one: the one that feed() with kLast
  // and Sampler::sample() give, and the sampler accepts it. A device that can chooses where the
  // log-probabilities are. sampler: of the same model. Errors: those of feed() and sample(), after each of
  // which the sampler is as before; kArgument (no tokens).
  Result<int32_t> next(const int32_t* tokens, size_t n, Sampler* sampler, const Progress& progress = {});

  // Forgets everything: the next token is the first of a new stream.
  void reset();

  // The stream's state, and a sampler's beside it unless null, as bytes (runtime/text/snapshot.h), to go on
  // from exactly here in a session of the same model, block and memory; max_rows, threads, instruction set
  // and backend may differ. save() writes snapshot_bytes(), which follow from the position and have a bound.
  // load() with a sampler needs bytes that were saved with one. Errors of load: kFile, kModel (damaged, of
  // another model, block or memory), kVersion, kMemory; session and sampler are then unchanged. kDevice: they
  // are undefined until the next load or reset.
  size_t snapshot_bytes(const Sampler* sampler) const;
  Status save(const Sampler* sampler, uint8_t* out);
  // name stands for the path in messages.
  Status load(const uint8_t* data, size_t size, const std::string& name, Sampler* sampler);
  // The same in a file, which is written whole or not at all.
  Status save_file(const std::string& path, const Sampler* sampler);
  Status load_file(const std::string& path, Sampler* sampler);

 private:
  Session() = default;
  // Checks the tokens, then calls step(done, rows) for one piece after another, which feeds them.
  Status feed_pieces(const int32_t* tokens, size_t n, const Progress& progress,
                     FunctionRef<Status(size_t done, size_t rows)> step);

  std::unique_ptr<CausalNetwork> network_;
  uint64_t position_ = 0;
};

}  // namespace lsrt
