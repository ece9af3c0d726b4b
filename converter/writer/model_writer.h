// Writes a model file: the FlatBuffer, then the weight section, tensor by tensor, so that the peak of memory
// is one tensor. The FlatBuffer comes first and holds the offsets of what follows; it is built twice, first
// to learn its size.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "runtime/model/model.h"
#include "schema/lsrt_generated.h"

namespace lsrt {

// A tensor as the file stores it: data and, for int8, scales and sums.
struct TensorBytes {
  std::vector<uint8_t> data;
  std::vector<float> scales;
  std::vector<int32_t> sums;
};
using MakeTensor = std::function<Result<TensorBytes>()>;

// Sizes in the file of an array of this type and shape.
struct TensorSizes {
  uint64_t data = 0;
  uint64_t scales = 0;  // bytes, of sums as well; 0 unless int8
};
TensorSizes tensor_sizes(DataType type, const std::vector<uint32_t>& shape);

class ModelWriter {
 public:
  // Takes the next bytes of the file.
  using Sink = std::function<Status(const void* data, size_t size)>;
  // Builds the FlatBuffer's tables; called twice, and must do the same both times.
  using Describe = std::function<flatbuffers::Offset<fb::Model>(ModelWriter&)>;
  // Called before each tensor is made: how many are done, of how many, and the next one's name. An error ends
  // writing.
  using Progress = std::function<Status(size_t done, size_t total, const std::string& name)>;

  // Writes the whole file. header, if given, receives the FlatBuffer, which starts the file.
  static Status write(const Describe& describe, const Sink& sink, const Progress& progress,
                      std::vector<uint8_t>* header = nullptr);

  // How long the file will be.
  static uint64_t file_bytes(const Describe& describe);

  // For Describe: the FlatBuffer under construction, and the tensors, which lie in the file in the order of
  // these calls. `make` is called when the tensor's turn to be written comes.
  flatbuffers::FlatBufferBuilder& builder() { return builder_; }
  flatbuffers::Offset<fb::Tensor> tensor(const std::string& name, DataType type,
                                         const std::vector<uint32_t>& shape, MakeTensor make);
  // Keeps the first problem found while describing; write() returns it before it writes anything.
  void note(Status status);

 private:
  struct Planned {
    std::string name;
    TensorSizes sizes;
    MakeTensor make;
  };

  explicit ModelWriter(uint64_t weights_offset) : end_(weights_offset) {}
  fb::Span reserve(uint64_t bytes);

  flatbuffers::FlatBufferBuilder builder_;
  std::vector<Planned> tensors_;
  Status problem_;
  uint64_t end_;  // of the file so far, a multiple of kWeightAlignment
};

}  // namespace lsrt
