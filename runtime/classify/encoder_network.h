// The bidirectional encoder and its classifier on a backend (spec section 2): documents of any length up to
// the model's largest in, logits out. Internal; applications call the classifier of lsrt.h.
//
// Only real tokens are computed, packed one after another: a document costs time in proportion to its own
// length, and the results equal those of the same document padded and masked. Each block chooses its mixer.
// In an EncoderLongShort block the cls row is not normed before the mixer and attends to what the mixer made
// of the others; in a FullAttention block it is a row like any other.
#pragma once

#include <memory>
#include <vector>

#include "runtime/classify/head.h"
#include "runtime/classify/sequence_groups.h"
#include "runtime/device/backend.h"
#include "runtime/mixers/layer_runner.h"

namespace lsrt {

struct Document {
  const int32_t* tokens;          // [length]
  size_t length;                  // 1 .. max_length
  const int32_t* mask = nullptr;  // [length], 0: no token there, seen by none; null: all are real
};

class EncoderNetwork {
 public:
  // Bytes that create() will allocate for activations, index tables and the backend's workspace; errors as
  // create().
  static Result<size_t> plan(Backend& backend, const ClassifierOptions& options);
  // Allocates all memory, for documents of max_length(); after this nothing is allocated. Errors: kArgument
  // (not an encoder), kUnsupported (a block whose residual is not pre_norm), kMemory.
  static Result<std::unique_ptr<EncoderNetwork>> create(std::shared_ptr<Backend> backend,
                                                        const ClassifierOptions& options);
  ~EncoderNetwork();

  const Model& model() const { return backend_.model(); }
  size_t classes() const { return head_runner_->classes(); }
  size_t width() const { return model().stages[0].width; }
  size_t max_length() const { return model().sequence.max_length; }
  // Documents of one input: 2 where the model compares pairs.
  size_t documents() const { return head().pair ? 2 : 1; }
  // Rows that run() encodes a document to: only the cls row, where that is what is classified.
  size_t encoded_rows(size_t length) const { return head().pool == Pool::kCls ? 1 : length; }

  // logits[count, classes] of `count` inputs; tokens: their documents one after another, lengths: of each.
  // Errors: kArgument (a length or a token out of range; nothing is computed).
  Status run(const int32_t* tokens, const size_t* lengths, size_t count, float* logits);

  // logits[classes] of one input, documents[documents()]. encoded: null, or for each document
  // [encoded_rows(), width]: the rows after the last norm, zero where the mask is.
  Status run(const Document* documents, float* logits, float* const* encoded);

 private:
  struct Layer {
    PreparedBlock prepared;
    const EncoderLongShort* mixer;  // null: full attention
    size_t grouping;                // of groupings_, unless full
    bool cls;                       // the cls row is there, as row 0
    Dev<const float> convolution;   // [heads, kernel], or null
  };
  struct Grouping {
    SequenceGroups groups;              // on the host
    Dev<int32_t> query_rows, key_rows;  // on the device
  };
  // On the device, but for what Grouping and document_ keep on the host.
  struct Buffers {
    Dev<int32_t> tokens;                  // [max_length]
    Dev<int32_t> row_at, position_of;     // [max_length]
    Dev<int32_t> all_rows;                // [lead + max_length]: 0, 1, ...
    Dev<float> x;                         // [lead + max_length, width]: a layer's input, then its output
    Dev<float> attention;                 // [lead + max_length, width]: queries, then what they found
    Dev<float> value;                     // [max_length, width]: where a layer has a convolution
    Dev<void> store;                      // keys and values of all rows, the cls row and the landmarks
    Dev<float> global_key, global_value;  // [1 + rank, width]: of the cls row and the landmarks
    Dev<float> cls_qkv;                   // [qkv width]
    Dev<float> features;                  // [documents, width]
    Dev<float> pair;                      // [4 width]: what the head compares
    Dev<float> head;                      // scratch of the head
    Dev<float> logits;                    // [classes]
  };

  explicit EncoderNetwork(Backend& backend) : backend_(backend), runner_(backend) {}
  const TokenStem& stem() const { return std::get<TokenStem>(model().stages[0].stem); }
  const ClassifierHead& head() const { return std::get<ClassifierHead>(model().head); }
  const RowOps& rows() const { return *backend_.ops().rows; }
  // Layers, groupings, sizes.
  Status count(const ClassifierOptions& options);
  void add_layer(const Block& block, bool cls);
  void plan_layer(const Layer& layer);
  void place(Carver* host, DeviceCarver* device);
  // Memory, linear layers.
  Status prepare();
  // Extents, without pointers to activations, for the document at hand.
  KeyValueStore store_of(const Layer& layer) const;
  GroupedAttention attention_extents(const Layer& layer) const;
  ClsAttention cls_extents(const Layer& layer) const;

  Status check(const Document& document, size_t index) const;
  Status encode(const Document& document, Dev<float> features, float* encoded);
  void embed(const Document& document);
  void run_layer(const Layer& layer);
  void project(const Layer& layer, size_t first);
  void project_cls(const Layer& layer);
  void store_globals(const Layer& layer);
  void attend_all(const Layer& layer, size_t first);
  void attend_groups(const Layer& layer, size_t first_group, size_t groups);
  void attend_cls(const Layer& layer);
  void convolve(const Layer& layer, size_t first, size_t rows);
  void feed_forward(const Layer& layer, size_t first, size_t rows);

  std::shared_ptr<Backend> owned_;  // null where only counted
  Backend& backend_;
  std::unique_ptr<HeadRunner> head_runner_;
  LayerRunner runner_;
  DeviceTensor embedding_;
  Dev<const float> positions_, cls_token_;  // may be null
  std::vector<Layer> layers_;
  std::vector<Grouping> groupings_;
  size_t lead_ = 0;  // rows in front of the tokens: 1 where the model has a cls row
  size_t bytes() const { return host_bytes_ + device_bytes_ + stream_plan_.workspace; }
  StreamPlan stream_plan_;
  size_t device_bytes_ = 0, host_bytes_ = 0;
  std::unique_ptr<uint8_t[]> host_;
  Dev<void> device_;
  Buffers b_{};
  PackedRows document_;  // of the document that is being encoded
  std::unique_ptr<Stream> stream_;
};

}  // namespace lsrt
