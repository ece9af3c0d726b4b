// The layers of a causal language model on a backend: one stream's state, and steps through all layers (spec
// section 1). What a layer's mixer is it need not know: runtime/mixers/mixer.h. Internal; applications use
// Session.
#pragma once

#include <memory>
#include <vector>

#include "runtime/device/backend.h"
#include "runtime/device/budget.h"
#include "runtime/mixers/mixer.h"

namespace lsrt {

struct CausalOptions {
  size_t threads = 1;
  size_t block = 0;      // tokens; 0: the model's
  size_t memory = 0;     // tokens; 0: the model's
  size_t max_rows = 0;   // tokens of one step; 0: as many as useful, at most a block
  size_t max_bytes = 0;  // all memory that create() may take (kMemory beyond it); 0: kDefaultMaxBytes
};

struct CausalMemory {
  size_t state_bytes = 0;      // the stream's state
  size_t positions_bytes = 0;  // position tables longer than the model's own
  size_t scratch_bytes = 0;    // activations and the backend's workspace
  size_t exchange_bytes = 0;   // of an exported state, at most
  size_t sum() const { return state_bytes + positions_bytes + scratch_bytes; }
};

class CausalNetwork {
 public:
  // Checks the options against the backend's model (kArgument, kUnsupported) and counts the memory that
  // create() will take; prepares nothing.
  static Result<CausalMemory> plan(Backend& backend, const CausalOptions& options);
  // Allocates all memory; after this nothing is allocated.
  static Result<std::unique_ptr<CausalNetwork>> create(std::shared_ptr<Backend> backend,
                                                       const CausalOptions& options);
  ~CausalNetwork();

  const Model& model() const { return backend_.model(); }
  size_t vocabulary() const { return model().vocabulary.size(); }
  const StreamExtents& extents() const { return extents_; }
  const CausalMemory& memory() const { return memory_; }

  // Starts a new stream.
  void reset();

  // Feeds `rows` tokens at `position`: at most extents().max_rows, none past the end of the block, ids in
  // range. Writes the log-probabilities of the tokens after the last `scored` rows to out[scored, vocabulary]
  // on the host.
  Status step(uint64_t position, const int32_t* tokens, size_t rows, size_t scored, float* out);
  // Whether the device can choose a token itself.
  bool chooses() const { return backend_.ops().choose != nullptr; }
  // Feeds `rows` tokens in the same way; the token after the last one, as Sampler chooses it with this draw
  // and these penalized ids, distinct ones of the vocabulary. -1: there is none to choose.
  Result<int32_t> step_and_choose(uint64_t position, const int32_t* tokens, size_t rows, const Draw& draw,
                                  const std::vector<int32_t>& penalized);

  // The state at stream position `position` in a form that depends on neither device nor max_rows, layer
  // after layer: exchange_bytes(position) on the host. Errors: kMemory (nothing has changed), kDevice.
  size_t exchange_bytes(uint64_t position) const;
  Status export_state(uint64_t position, uint8_t* host);
  Status import_state(uint64_t position, const uint8_t* host);
  // Whether bytes of that form hold what a state can: finite scales that are not negative, int8 in -127 ..
  // 127.
  bool is_state(uint64_t position, const uint8_t* host) const;

 private:
  struct Layer {
    const Block* block;
    DeviceNorm norm1, norm2;
    std::unique_ptr<StreamMixer> mixer;
    const Linear *fc1, *fc2;
  };
  // On the device. Blocks may differ: room for the largest.
  struct Buffers {
    Dev<StepNumbers> numbers;
    Dev<int32_t> tokens;  // [rows]
    Dev<float> x;         // [rows, width]: a layer's input, then its output
    Dev<float> normed;    // [rows, width]
    Dev<float> mixed;     // [rows, width]: output of the mixer, then of the feed-forward
    Dev<float> hidden;    // [rows, feed-forward width]
    Dev<float> logits;    // [rows, vocabulary]
    // Where the device chooses (Choice); else null.
    Dev<uint8_t> with_text;        // [vocabulary]
    Dev<int32_t> penalized;        // [vocabulary]
    Dev<uint64_t> choose_scratch;  // [2, vocabulary]
    Dev<int32_t> chosen;           // [1]
  };

  explicit CausalNetwork(Backend& backend) : backend_(backend) {}
  // Shapes and sizes.
  Status count(const CausalOptions& options);
  void place_state(DeviceCarver* carver);
  void place_tables(DeviceCarver* carver);
  void place_scratch(DeviceCarver* carver);
  // Memory, linear layers.
  Status prepare();

  // Makes the launches of a step, which leave log-probabilities of the last rows in b_.logits.
  void launch_step(uint64_t position, const int32_t* tokens, size_t rows, size_t scored);
  void run_layer(const Layer& layer, const StreamStep& step, Dev<float>* x, Dev<float>* normed,
                 Dev<float>* owed);
  template <typename F>
  Status with_staging(uint64_t position, const F& f);

  std::shared_ptr<Backend> owned_;  // null where only counted
  Backend& backend_;
  StreamExtents extents_;
  CausalMemory memory_;
  StreamPlan stream_plan_;
  std::vector<Layer> layers_;
  const Linear* head_ = nullptr;
  DeviceNorm head_norm_;
  DeviceTensor embedding_;
  Dev<void> state_, tables_, scratch_;
  Buffers b_;
  std::vector<float> zero_row_;       // [width]
  std::vector<uint32_t> step_shape_;  // [2 + layers]: rows, scored, StreamMixer::shape() of each layer
  std::unique_ptr<Stream> stream_;
};

}  // namespace lsrt
