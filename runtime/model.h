// A model file in memory: verified once, then read in place. Immutable; shared by any number of sessions and
// threads.
//
// Loading treats the file as hostile: the FlatBuffer is verified whole, then every extent, span, alignment,
// scale and relation between layers is checked here, so that code that runs the model needs no checks of its
// own. Nothing is copied: the views below point into the file's bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernels/gemm.h"
#include "runtime/mapped_file.h"
#include "runtime/model_bytes.h"
#include "runtime/status.h"

namespace lsrt {

inline constexpr uint32_t kModelFormat = 1;  // newest Model.format that this reader understands
inline constexpr size_t kWeightAlignment = 64;
inline constexpr size_t kMaxHeaderBytes = 64 << 20;  // the FlatBuffer; weights lie outside it
inline constexpr uint32_t kMaxHeadDim = 512;
inline constexpr uint32_t kMaxChunk = 1024;   // tokens of one summary
inline constexpr uint32_t kMaxWidth = 65536;  // of rows, hidden rows, heads * rank: keeps int32 sums exact

enum class DataType : uint8_t { kFloat32 = 0, kInt8 = 1, kInt32 = 2, kUint8 = 3 };
enum class Activation : uint8_t { kNone = 0, kRelu = 1, kGelu = 2 };
enum class Residual : uint8_t { kPreNorm = 0, kNormed = 1, kPostNorm = 2 };
enum class Pool : uint8_t { kCls = 0, kMean = 1, kMeanPadded = 2 };

// An array in the file; data is null where the model has none.
struct TensorView {
  std::string_view name;
  const void* data = nullptr;
  const float* scales = nullptr;  // int8: per row, padded to 16 in each group
  const int32_t* sums = nullptr;  // int8: per row, padded to 16 in each group
  DataType type = DataType::kFloat32;
  uint32_t rank = 0;
  uint32_t shape[4] = {0, 0, 0, 0};

  explicit operator bool() const { return data != nullptr; }
  const float* floats() const { return static_cast<const float*>(data); }
  size_t elements() const;
  size_t bytes() const;  // of data, scales and sums
  // Group `g` of an int8 tensor of rank 2 (g = 0) or 3 as weights.
  PanelWeights panels(size_t g = 0, const float* bias = nullptr) const;
};

struct LinearView {
  TensorView weight;            // [outputs, inputs]
  const float* bias = nullptr;  // [outputs] or null
  size_t outputs = 0, inputs = 0;
};

struct NormView {
  const float* gamma = nullptr;  // null: no norm
  const float* beta = nullptr;
  float eps = 0;
  explicit operator bool() const { return gamma != nullptr; }
};

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

struct CausalLongShort {
  uint32_t heads = 0, head_dim = 0, window = 0, chunk = 0, rank = 0;
  int32_t position_clamp = -1, chunk_position_clamp = -1;
  LinearView qkv, out;
  const float* content_bias = nullptr;   // [heads, head_dim]
  const float* position_bias = nullptr;  // [heads, head_dim]
  NormView norm_window, norm_summary;
  TensorView window_positions;           // [heads, window, head_dim], none if window is 0
  TensorView chunk_positions;            // [heads, n, head_dim], none if rank is 0
  LinearView chunk_position_projection;  // empty if rank is 0
};

struct EncoderLongShort {
  uint32_t heads = 0, head_dim = 0, window = 0, rank = 0, kernel = 0;
  LinearView qkv, out;
  NormView norm_window, norm_summary;
  const float* convolution = nullptr;  // [heads, kernel] or null
};

struct VisionLongShort {
  uint32_t heads = 0, head_dim = 0, window = 0, rank = 0;
  LinearView qkv, out;
  NormView norm_window, norm_summary;
  const float* relative_bias = nullptr;  // [(2 reach + 1)^2, heads] or null
};

struct FullAttention {
  uint32_t heads = 0, head_dim = 0;
  LinearView qkv, out;
  NormView norm_keys;
  const float* relative_bias = nullptr;  // [(2 grid - 1)^2, heads] or null
  const float* cls_bias = nullptr;       // [3, heads] or null
};

using Stem = std::variant<TokenStem, PatchStem>;
using Mixer = std::variant<CausalLongShort, EncoderLongShort, VisionLongShort, FullAttention>;

struct FeedForward {
  LinearView fc1, fc2;
  Activation activation = Activation::kGelu;
};

struct Block {
  NormView norm1, norm2;
  Mixer mixer;
  FeedForward feed_forward;
  Residual residual = Residual::kPreNorm;
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

using Head = std::variant<TokenHead, ClassifierHead>;

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

  std::string family;  // "lm", "encoder", "vil"
  std::vector<Stage> stages;
  Head head;
  uint32_t block = 0, memory = 0;       // streaming defaults in tokens; 0 where the model is not causal
  std::vector<std::string> vocabulary;  // bytes by token id; empty text: never sampled
  SequenceInput sequence;
  ImageInput image;
  std::vector<std::string> labels;
  Provenance provenance;
  Golden golden;

  size_t file_bytes() const { return size_; }
  // Every tensor once (shared ones too), for `inspect`.
  const std::vector<TensorView>& tensors() const { return tensors_; }
  bool is_int8() const;  // whether any linear layer is

 private:
  friend class ModelReader;
  template <typename Bytes>
  static Result<std::shared_ptr<const Model>> read(Bytes bytes, const std::string& name);

  std::variant<MappedFile, ModelBytes, Pages> bytes_;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  std::vector<TensorView> tensors_;
};

}  // namespace lsrt
