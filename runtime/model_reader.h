// Turns the verified FlatBuffer of a model file into the views of model.h, and checks all that FlatBuffers
// cannot know: spans, shapes, types, scales, and that each part fits the next. Used by Model::load only.
//
// The first thing that is wrong ends the reading with Error::kModel "PATH: stage 1, block 3, qkv.weight:
// ...". Nothing is allocated in proportion to a number in the file: what is copied (texts, lists of blocks)
// has the limits below. The bytes of weights are not touched, so that a large model loads at the cost of its
// header.
#pragma once

#include <initializer_list>
#include <string>
#include <unordered_set>

#include "runtime/model.h"
#include "schema/lsrt_generated.h"

namespace lsrt {

inline constexpr uint32_t kMaxStages = 16;
inline constexpr uint32_t kMaxBlocks = 4096;         // of all stages together
inline constexpr uint32_t kMaxVocabulary = 1 << 20;  // tokens
inline constexpr uint32_t kMaxTokenBytes = 64;
inline constexpr uint32_t kMaxClasses = 1 << 16;
inline constexpr uint32_t kMaxTextBytes = 1024;        // of a label or a line of provenance
inline constexpr uint32_t kMaxStreamTokens = 1 << 24;  // memory, block, longest sequence
inline constexpr uint32_t kMaxWindow = 1 << 16;
inline constexpr uint32_t kMaxImageSize = 1 << 14;  // pixels on a side
inline constexpr uint32_t kMaxGoldenArrays = 16;

class ModelReader {
 public:
  ModelReader(std::string path, const uint8_t* data, size_t size, Model* model)
      : path_(std::move(path)), data_(data), size_(size), model_(model) {}

  Status read(const fb::Model& source);

 private:
  using Shape = std::initializer_list<uint64_t>;  // expected extents; 0: any
  using Types = std::initializer_list<DataType>;
  using TensorList = flatbuffers::Vector<flatbuffers::Offset<fb::Tensor>>;

  // What the blocks of a stage must fit.
  struct Rows {
    uint32_t width = 0;
    uint32_t grid = 0;       // of a PatchStem
    uint32_t cls_count = 0;  // of a PatchStem
  };

  // "PATH: WHERE WHAT: text", Error::kModel.
  [[gnu::format(printf, 3, 4)]] Status wrong(const std::string& what, const char* format, ...) const;
  // Whether low <= value <= high.
  Status range(const std::string& what, uint64_t value, uint64_t low, uint64_t high) const;
  Status text(const char* what, const flatbuffers::String* source, std::string* out) const;

  // model_reader.cc: arrays. `source` may be null only where the function says so.
  Status span(const std::string& what, const fb::Span* source, uint64_t bytes, const void** data) const;
  Status scales_and_sums(const std::string& what, const fb::Tensor& source, TensorView* view) const;
  Status tensor(const std::string& what, const fb::Tensor* source, Shape shape, Types types,
                TensorView* view);
  Status floats(const std::string& what, const fb::Tensor* source, Shape shape,
                const float** out);  // null: null
  Status linear(const std::string& what, const fb::Linear* source, uint64_t outputs, uint64_t inputs,
                LinearView* view);
  Status norm(const std::string& what, const fb::Norm* source, uint64_t width, NormView* view);  // null: none

  // model_reader_layers.cc: what computes.
  Status stages(const fb::Model& source);
  Status stem(const fb::Stage& source, size_t index, const Rows& previous, Stage* stage, Rows* rows);
  Status token_stem(const fb::TokenStem& source, TokenStem* stem, Rows* rows);
  Status patch_stem(const fb::PatchStem& source, size_t index, const Rows& previous, PatchStem* stem,
                    Rows* rows);
  Status block(const fb::Block& source, const Rows& rows, Block* block);
  Status mixer(const fb::Block& source, const Rows& rows, Mixer* mixer);
  Status head_dim(uint32_t heads, uint32_t rank, const Rows& rows, uint32_t* head_dim) const;
  Status causal(const fb::CausalLongShort& source, const Rows& rows, CausalLongShort* mixer);
  Status encoder(const fb::EncoderLongShort& source, const Rows& rows, EncoderLongShort* mixer);
  Status vision(const fb::VisionLongShort& source, const Rows& rows, VisionLongShort* mixer);
  Status full(const fb::FullAttention& source, const Rows& rows, FullAttention* mixer);

  // model_reader_io.cc: input, output, origin.
  Status stream(const fb::Model& source);
  Status head(const fb::Model& source);
  Status vocabulary(const fb::Model& source);
  Status sequence(const fb::Model& source);
  Status image(const fb::Model& source);
  Status labels(const fb::Model& source);
  Status provenance(const fb::Model& source);
  Status golden(const fb::Model& source);
  Status golden_arrays(const char* what, const TensorList& source, std::vector<TensorView>* arrays);
  Status golden_shapes() const;

  bool is(const char* family) const { return model_->family == family; }

  const std::string path_;
  const uint8_t* const data_;
  const size_t size_;
  Model* const model_;
  std::string where_;                        // "stage 0, block 3, "
  Rows last_rows_;                           // of the last stage
  std::unordered_set<const void*> tensors_;  // seen, by data
};

// Printed in messages: "[768, 256]".
std::string shape_text(const uint32_t* shape, size_t rank);

}  // namespace lsrt
