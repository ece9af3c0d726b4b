// A model file in memory: verified once, then read in place. Immutable; shared by any number of sessions and
// threads.
//
// Loading treats the file as hostile: the FlatBuffer is verified whole, then every extent, span, alignment,
// scale and relation between layers is checked here, and, of a file that is read into memory, every row sum
// and all padding of the weights, so that code that runs the model needs no checks of its own. Nothing is
// copied: the views below point into the file's bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/mapped_file.h"
#include "base/status.h"
#include "runtime/model/family.h"
#include "runtime/model/limits.h"
#include "runtime/model/mixer_views.h"
#include "runtime/model/model_bytes.h"
#include "runtime/model/views.h"

namespace lsrt {

inline constexpr uint32_t kModelFormat = 3;  // newest Model.format that this reader understands
inline constexpr size_t kWeightAlignment = 64;

enum class Residual : uint8_t { kPreNorm = 0, kNormed = 1, kPostNorm = 2, kSingle = 3 };
enum class Pool : uint8_t { kCls = 0, kMean = 1, kMeanPadded = 2 };

struct TokenStem {
  TensorView embedding;  // [vocabulary, width]
  float scale = 1;
  TensorView positions;  // [max_length, width] or none
};

struct PatchStem {
  uint32_t patch = 0, grid = 0, channels = 0, cls_count = 0;
  LinearView projection;
  NormView norm;
  const float* cls_tokens = nullptr;  // [cls_count, width]
  const float* positions = nullptr;   // [cls_count + grid * grid, width] or null
};

struct TileStem {
  uint32_t tile = 0, cells = 0;  // pixels on a side of a cell, cells on a side of a slide
  LinearView projection;
  const float* cls_token = nullptr;  // [width]
  TensorView positions;              // [cells, width / 2]
};

using Stem = std::variant<TokenStem, PatchStem, TileStem>;

// One of the list.
template <typename None, typename... Kinds>
using VariantOf = std::variant<Kinds...>;
#define LSRT_MIXER(Kind) , Kind
using Mixer = VariantOf<void
#include "runtime/model/mixers.inc"
                        >;
#undef LSRT_MIXER

struct FeedForward {
  LinearView fc1, fc2;
  Activation activation = Activation::kGelu;
  NormView norm;  // of what fc2 is given, or none
  explicit operator bool() const { return static_cast<bool>(fc1.weight); }
};

struct Block {
  NormView norm1, norm2;
  Mixer mixer;
  FeedForward feed_forward;  // absent, with norm2, where the mixer is all of the block
  Residual residual = Residual::kPreNorm;
  NormView norm_mixed;  // of what the mixer's out is given, or none
};

struct Stage {
  Stem stem;
  std::vector<Block> blocks;
  uint32_t width = 0;  // of the rows
};

struct TokenHead {
  NormView norm;
  LinearView projection;
};

struct ClassifierHead {
  NormView norm;
  Pool pool = Pool::kCls;
  bool pair = false;
  std::vector<LinearView> layers;
};

struct EmbeddingHead {
  NormView norm, output_norm;
  Pool pool = Pool::kCls;
};

using Head = std::variant<TokenHead, ClassifierHead, EmbeddingHead>;

// How byte-level byte pair encoding makes tokens of text; texts by id are the vocabulary's.
struct BytePairs {
  struct Merge {
    uint32_t left, right, joined;
  };
  struct Added {
    uint32_t id;
    bool normalized, special;
  };
  int32_t bytes[256] = {};        // ids of the single bytes; -1: none, of some that are no part of UTF-8
  const Merge* merges = nullptr;  // by rank
  size_t merge_count = 0;
  std::vector<Added> added;
  bool nfc = false;
};

struct SequenceInput {
  uint32_t max_length = 0;
  int32_t byte_offset = 1;
  const float* cls_token = nullptr;  // [width] or null: no cls row
  uint32_t cls_from_block = 0;
};

struct ImageInput {
  uint32_t size = 0, resize = 0;
  float mean[3] = {0, 0, 0}, std[3] = {1, 1, 1};
};

struct Provenance {
  std::string source_file, source_sha256, source_format, converter_version, architecture;
};

struct Golden {
  std::vector<TensorView> inputs, outputs;
  float max_difference = 0;
  uint64_t digest = 0;  // of the int8 outputs; 0: not stored
};

// Where the bytes of a model file are: in memory of this process, or mapped, which shares them with other
// processes and reads no more than is used. Larger files than kMostReadBytes, which may be mostly holes, are
// mapped in any case.
enum class Placement { kMemory, kMapped };
inline constexpr size_t kMostReadBytes = size_t{1} << 30;

class Model {
 public:
  // Loads and checks a file. Errors: kFile, kModel, kVersion, kMemory; the text names the path, what is wrong
  // and where.
  static Result<std::shared_ptr<const Model>> load(const std::string& path,
                                                   Placement placement = Placement::kMemory);
  // The same for bytes in memory, which the model keeps; `name` stands for the path in messages.
  static Result<std::shared_ptr<const Model>> load_bytes(ModelBytes bytes, const std::string& name);
  static Result<std::shared_ptr<const Model>> load_bytes(Pages bytes, const std::string& name);

  Family family = Family::kLm;
  std::vector<Stage> stages;
  Head head;
  uint32_t block = 0, memory = 0;  // streaming defaults in tokens; 0 where no layer has a window or summaries
  std::vector<std::string> vocabulary;  // bytes by token id; empty text: never sampled
  std::optional<BytePairs> byte_pairs;  // none: at every place the longest token that fits
  SequenceInput sequence;
  ImageInput image;
  std::vector<std::string> labels;
  Provenance provenance;
  Golden golden;

  size_t file_bytes() const { return size_; }
  // The file's bytes, which all views point into.
  const uint8_t* bytes() const { return data_; }
  // Every tensor once (shared ones too), for `inspect`.
  const std::vector<TensorView>& tensors() const { return tensors_; }
  bool is_int8() const;  // whether any linear layer is
  // Recounts the row sums and padding of all int8 weights (kModel), which loading does not do for a mapped
  // file: it would read all of it.
  Status check_weights() const;
  // If the file is mapped, a tensor's data take no memory until they are used again.
  void forget(const TensorView& tensor) const;

  // A digest (base/digest.h) of all that decides what the model computes: every field of the header but the
  // golden, the provenance, the names of tensors and their places in the file; and every byte of the weights.
  // So models that differ in any weight, hyper-parameter, token or label have different fingerprints, and a
  // model that was converted again has the same one. Reads the whole file at the first call; thread-safe.
  uint64_t fingerprint() const;

 private:
  friend class ModelReader;
  template <typename Bytes>
  static Result<std::shared_ptr<const Model>> read(Bytes bytes, const std::string& name);

  std::string name_;  // the path, for messages
  std::variant<MappedFile, ModelBytes, Pages> bytes_;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  std::vector<TensorView> tensors_;
  mutable std::once_flag fingerprint_once_;
  mutable uint64_t fingerprint_ = 0;
};

}  // namespace lsrt
