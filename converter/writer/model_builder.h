// The parts of a model file (linear layers, norms, tables) from the named tensors of a checkpoint, or with
// random weights where there is none. The families (names_*.cc) describe their models with it.
//
// Nothing is read while a model is described: tensors are checked for presence and shape, and read, changed
// and quantized one by one when they are written. The first problem is kept by the ModelWriter, which then
// writes nothing.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "converter/source/tensor_source.h"
#include "converter/writer/model_writer.h"
#include "converter/writer/quantize.h"

namespace lsrt {

struct TensorReport {
  std::string name;
  DataType type = DataType::kFloat32;
  std::vector<uint32_t> shape;
  uint64_t bytes = 0;       // in the model file, with scales and sums
  QuantizationError error;  // all zero for float32
};

using MakeFloats = std::function<Result<std::vector<float>>()>;

// Where weights come from: tensors of a checkpoint whose names start with the prefix. No checkpoint: random
// weights.
struct WeightSource {
  const TensorSource* checkpoint = nullptr;
  std::string prefix;

  bool random() const { return checkpoint == nullptr; }
  const SourceTensor* find(const std::string& name) const { return checkpoint->find(prefix + name); }
  // An extent of a tensor; 0 where there is no such tensor or axis.
  uint32_t extent(const std::string& name, size_t axis) const;
  // An error if the tensor is missing or has another shape (extents of 1 do not count).
  Status check(const std::string& name, const std::vector<uint32_t>& shape) const;
  // All elements; an error also if one is not finite.
  Result<std::vector<float>> read(const std::string& name, const std::vector<uint32_t>& shape) const;
};

class ModelBuilder {
 public:
  // Rows of a linear layer: NAME.weight of the given shape [rows, ...] and, where bias is set, NAME.bias. The
  // first scaled_rows rows of both are multiplied by scale, or each row by its element of the tensor `gains`.
  struct Rows {
    std::string name;
    std::vector<uint32_t> shape;
    bool bias = true;
    float scale = 1;
    uint32_t scaled_rows = 0;
    std::string gains = {};
  };

  // reports, if given, receives one entry for each tensor as it is written. threads: of rounding; 0: all.
  ModelBuilder(ModelWriter& writer, const WeightSource& source, Precision precision,
               std::vector<TensorReport>* reports, size_t threads = 1)
      : writer_(writer), source_(source), precision_(precision), reports_(reports), threads_(threads) {}

  // Notes a problem unless the checkpoint has the tensor in this shape; for tensors that a `make` reads.
  void require(const std::string& name, const std::vector<uint32_t>& shape);
  // Names a tensor that the authors' code keeps although nothing is computed with it: what a rank of 0 leaves
  // without rows, tables that are read elsewhere. Which of them a checkpoint has, differs.
  void ignore(const std::string& name) { ignored_.insert(name); }
  void ignore(const std::string& name, const std::vector<std::string>& parts);  // NAME part .weight and .bias
  // Notes a problem if the checkpoint has a tensor that no part of the model used or ignored: such a model
  // would compute something else than its authors'.
  void require_all_used();
  // Elements of the tensors used so far.
  uint64_t parameters() const;

  flatbuffers::FlatBufferBuilder& fb() { return writer_.builder(); }
  const WeightSource& source() const { return source_; }

  // Whether the checkpoint has the tensor; `otherwise` for random weights.
  bool has(const std::string& name, bool otherwise) const;

  // A tensor kept as float32: norms, biases, small tables. With random weights `make` is not called.
  flatbuffers::Offset<fb::Tensor> floats(const std::string& name, const std::vector<uint32_t>& shape,
                                         const MakeFloats& make);
  // The same, but `make` is called with random weights, too.
  flatbuffers::Offset<fb::Tensor> made(const std::string& name, const std::vector<uint32_t>& shape,
                                       const MakeFloats& make);
  // The checkpoint's tensor of that name.
  flatbuffers::Offset<fb::Tensor> floats(const std::string& name, const std::vector<uint32_t>& shape);

  // A tensor in the model's precision: [rows, columns] or [groups, rows, columns].
  flatbuffers::Offset<fb::Tensor> weights(const std::string& name, const std::vector<uint32_t>& shape,
                                          const MakeFloats& make);
  flatbuffers::Offset<fb::Tensor> weights(const std::string& name, const std::vector<uint32_t>& shape);

  // One linear layer from the rows of several, in this order.
  flatbuffers::Offset<fb::Linear> linear(const std::string& name, const std::vector<Rows>& parts);
  flatbuffers::Offset<fb::Linear> linear(const std::string& name, uint32_t outputs, uint32_t inputs,
                                         bool bias = true);

  // Rows whose first `width` are the queries of attention, which are stored scaled by (width / heads)^-0.5.
  static Rows queries(const std::string& name, const std::vector<uint32_t>& shape, bool bias, uint32_t width,
                      uint32_t heads);

  // NAME.weight and, unless it is an rms norm, NAME.bias.
  flatbuffers::Offset<fb::Norm> norm(const std::string& name, uint32_t width, float eps,
                                     NormKind kind = NormKind::kLayer);

  // A block: norm1, what mixes its rows, norm2, the feed-forward layers.
  struct BlockParts {
    std::string norm1, norm2, fc1, fc2;  // names
    uint32_t width = 0, hidden = 0;
    float eps = 0;  // of the norms
    fb::Activation activation = fb::Activation::gelu;
    fb::Residual residual = fb::Residual::pre_norm;
    std::string norm_mixed = {}, norm_hidden = {};  // names; empty: none
  };
  struct MixerTable {
    fb::Mixer type;
    flatbuffers::Offset<void> table;
  };
  // mixer() is called between the norms: tensors lie in the file in the order in which they are described.
  flatbuffers::Offset<fb::Block> block(const BlockParts& parts, const std::function<MixerTable()>& mixer);

 private:
  // NAME.weight (columns > 1) or NAME.bias (columns = 1) of all parts, one below the other.
  MakeFloats joined(const std::vector<Rows>& parts, const char* suffix);
  flatbuffers::Offset<fb::Tensor> constant(const std::string& name, uint32_t width, float value);
  MakeFloats reader(const std::string& name, const std::vector<uint32_t>& shape);

  ModelWriter& writer_;
  const WeightSource& source_;
  const Precision precision_;
  std::vector<TensorReport>* const reports_;
  const size_t threads_;
  std::set<std::string> used_, ignored_;  // names without the prefix
};

}  // namespace lsrt
