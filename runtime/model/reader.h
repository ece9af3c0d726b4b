// Turns the verified FlatBuffer of a model file into the views of model.h, and checks all that FlatBuffers
// cannot know: spans, shapes, types, scales, and that each part fits the next. Used by Model::load only.
//
// The first thing that is wrong ends the reading with Error::kModel "PATH: stage 1, block 3, qkv.weight:
// ...". Nothing is allocated in proportion to a number in the file: what is copied (texts, lists of blocks)
// has the limits of limits.h. Weights are not looked at here (weights.h does that).
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <unordered_map>

#include "runtime/model/model.h"
#include "schema/lsrt_generated.h"

namespace lsrt {

class ModelReader {
 public:
  ModelReader(std::string path, const uint8_t* data, size_t size, Model* model)
      : path_(std::move(path)), data_(data), size_(size), model_(model) {}

  Status read(const fb::Model& source);

  // Where the first array starts: the header must end before it.
  uint64_t first_array() const { return spans_.empty() ? size_ : spans_.begin()->first; }

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

  // reader.cc: arrays. `source` may be null only where the function says so.
  Status span(const std::string& what, const fb::Span* source, uint64_t bytes, const void** data) const;
  Status place(const std::string& what, const TensorView& view, uint64_t bytes, uint64_t row_bytes);
  Status claim(const std::string& what, const void* data, uint64_t bytes);
  Status scales_and_sums(const std::string& what, const TensorView& view, uint64_t count) const;
  Status tensor(const std::string& what, const fb::Tensor* source, Shape shape, Types types,
                TensorView* view);
  Status floats(const std::string& what, const fb::Tensor* source, Shape shape,
                const float** out);  // null: null
  Status linear(const std::string& what, const fb::Linear* source, uint64_t outputs, uint64_t inputs,
                LinearView* view);
  Status norm(const std::string& what, const fb::Norm* source, uint64_t width, NormView* view);  // null: none

  // reader_layers.cc: what computes.
  Status stages(const fb::Model& source);
  Status stem(const fb::Stage& source, size_t index, const Rows& previous, Stage* stage, Rows* rows);
  Status token_stem(const fb::TokenStem& source, TokenStem* stem, Rows* rows);
  Status patch_stem(const fb::PatchStem& source, size_t index, const Rows& previous, PatchStem* stem,
                    Rows* rows);
  Status tile_stem(const fb::TileStem& source, TileStem* stem, Rows* rows);
  Status block(const fb::Block& source, const Rows& rows, Block* block);
  Status inner_norms(const fb::Block& source, const Rows& rows, Block* block);
  Status mixer(const fb::Block& source, const Rows& rows, Mixer* mixer);
  Status head_dim(uint32_t heads, uint32_t rank, const Rows& rows, uint32_t* head_dim) const;
  // runtime/mixers: each mixer reads and checks itself.
#define LSRT_MIXER(Kind) Status mixer(const fb::Kind& source, const Rows& rows, Kind* mixer);
#include "runtime/model/mixers.inc"
#undef LSRT_MIXER

  // reader_io.cc: input, output, origin.
  Status stream(const fb::Model& source);
  Status head(const fb::Model& source);
  Status embedding_head(const fb::EmbeddingHead& source);
  Status vocabulary(const fb::Model& source);
  Status byte_pairs(const fb::BytePairs* source);  // null: none
  Status sequence(const fb::Model& source);
  Status image(const fb::Model& source);
  Status labels(const fb::Model& source);
  Status provenance(const fb::Model& source);
  Status golden(const fb::Model& source);
  Status golden_arrays(const char* what, const TensorList& source, std::vector<TensorView>* arrays);
  Status golden_shapes() const;

  bool is(Family family) const { return model_->family == family; }

  const std::string path_;
  const uint8_t* const data_;
  const size_t size_;
  Model* const model_;
  uint32_t format_ = 0;
  std::string where_;                               // "stage 0, block 3, "
  Rows last_rows_;                                  // of the last stage
  std::map<uint64_t, uint64_t> spans_;              // begin -> end of all arrays, in bytes of the file
  std::unordered_map<const void*, size_t> placed_;  // data -> index in Model::tensors()
};

// Printed in messages: "[768, 256]".
std::string shape_text(const uint32_t* shape, size_t rank);

}  // namespace lsrt
