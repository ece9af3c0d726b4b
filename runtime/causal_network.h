// The layers of a causal long-short language model on a backend: one stream's state, and steps through all
// layers (spec section 1). Internal; applications use Session.
#pragma once

#include <memory>
#include <vector>

#include "runtime/backend.h"

namespace lsrt {

struct CausalOptions {
  size_t threads = 1;
  size_t block = 0;     // tokens; 0: the model's
  size_t memory = 0;    // tokens; 0: the model's
  size_t max_rows = 0;  // tokens of one step; 0: as many as useful, at most a block
};

struct CausalMemory {
  size_t state_bytes = 0;      // what a snapshot holds
  size_t positions_bytes = 0;  // position tables longer than the model's own
  size_t scratch_bytes = 0;    // activations and the backend's workspace
};

class CausalNetwork {
 public:
  // Checks the options against the model (kArgument) and counts the memory that create() will take.
  static Result<CausalMemory> plan(const Model& model, Backend& backend, const CausalOptions& options);
  // Allocates all memory; after this nothing is allocated.
  static Result<std::unique_ptr<CausalNetwork>> create(std::shared_ptr<const Model> model,
                                                       std::shared_ptr<Backend> backend,
                                                       const CausalOptions& options);
  ~CausalNetwork();

  size_t vocabulary() const { return vocabulary_; }
  // Block, memory and max_rows; the rest may differ from layer to layer.
  const CausalShape& shape() const { return shape_; }
  const CausalMemory& memory() const { return memory_; }

  // Starts a new stream.
  void reset();

  // Feeds `rows` tokens at `position`: at most shape().max_rows, none past the end of the block, ids in
  // range. Writes the next-token logits of the last `scored` rows to logits[scored, vocabulary] on the host.
  Status step(uint64_t position, const int32_t* tokens, size_t rows, size_t scored, float* logits);

  // The whole state, state_bytes, to or from the host.
  Status save(void* host);
  Status load(const void* host);

 private:
  struct Layer {
    const Block* block;
    const Linear *qkv, *out, *fc1, *fc2;
    CausalLayer causal;
    TensorView chunk_positions;  // of the session, where the model's are too few
  };
  struct Buffers;

  CausalNetwork(std::shared_ptr<const Model> model, std::shared_ptr<Backend> backend);
  Status prepare(const CausalOptions& options);
  size_t extended_bytes(const Layer& layer) const;
  Status extend_positions(Layer* layer, void* table);
  void run_layer(const Layer& layer, uint64_t position, size_t rows, Buffers* b);

  std::shared_ptr<const Model> model_;
  std::shared_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  CausalShape shape_{};  // of the last layer; block, memory and max_rows are the same in all
  CausalMemory memory_;
  size_t workspace_bytes_ = 0;
  size_t vocabulary_ = 0;
  std::vector<Layer> layers_;
  const Linear* head_ = nullptr;
  std::vector<float> zero_row_;  // [width]
  void* state_ = nullptr;
  void* positions_ = nullptr;
  void* scratch_ = nullptr;
};

}  // namespace lsrt
