// A checkpoint opened for reading: named tensors and metadata, whatever the container. The format is
// recognised by content: PyTorch's zip archive, PyTorch's older pickle stream, safetensors; or a folder
// (folder.h), which may hold several files and whose config.json becomes metadata["config"]. Checkpoints are
// hostile input: nothing in them is executed, every range is checked at open, and whatever is wrong comes
// back as Error::kCheckpoint with the path, the byte position where one is known, and what was expected.
// Error::kFile: the file cannot be read.
//
// Tensors of a PyTorch file are those of the first dictionary among root["model"], root["net"],
// root["model_state_dict"], root["state_dict"] and root itself that holds tensors as direct values; their
// names are its keys, unchanged. All other values become metadata (see torch_state.h).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/mapped_file.h"
#include "base/status.h"

namespace lsrt {

enum class SourceType : uint8_t { f32, f16, bf16, f64, i64, i32, i16, i8, u8, bool_ };

const char* source_type_name(SourceType type);  // "f32", ..., "bool"
uint64_t source_type_size(SourceType type);     // bytes of one element

struct SourceTensor {
  std::string name;  // valid UTF-8
  SourceType type = SourceType::f32;
  std::vector<int64_t> shape;    // [] is one scalar
  std::vector<int64_t> strides;  // elements between neighbours, one per dimension; 0 repeats an element
  uint64_t file_offset = 0;      // byte of element [0, 0, ...] in the file
  size_t file = 0;               // index in TensorSource::files()

  int64_t count() const;  // number of elements: the product of shape
};

// What a reader found in a file.
struct SourceContents {
  std::string format;  // "pytorch-zip", "pytorch-legacy" or "safetensors"
  std::vector<SourceTensor> tensors;
  nlohmann::json metadata = nlohmann::json::object();
};

class TensorSource {
 public:
  // Maps the file, or those of a folder.
  static Result<std::unique_ptr<TensorSource>> open(const std::string& path);
  // The same for bytes in memory, which must outlive the source.
  static Result<std::unique_ptr<TensorSource>> read(const Bytes& bytes);

  const std::string& path() const { return path_; }
  // Where files beside the weights are looked for: ends in '/', or is empty.
  const std::string& folder() const { return folder_; }
  const std::vector<Bytes>& files() const { return files_; }
  const std::string& format() const { return contents_.format; }
  const nlohmann::json& metadata() const { return contents_.metadata; }  // an object

  // In the order of the file; names are unique.
  const std::vector<SourceTensor>& tensors() const { return contents_.tensors; }
  const SourceTensor* find(std::string_view name) const;  // nullptr: no such tensor

  // The elements of one of tensors() as float32, row-major and contiguous. The files stay mapped and only the
  // result is allocated, so that the peak of a conversion is one tensor.
  Result<std::vector<float>> read(const SourceTensor& tensor) const;

  // Whether both have the same bits in the same shape: a tied layer that is stored twice.
  bool same(const SourceTensor& a, const SourceTensor& b) const;

  // The same for the integer types and bool, exact. Error::kCheckpoint for a floating-point tensor.
  Result<std::vector<int64_t>> read_integers(const SourceTensor& tensor) const;

 private:
  explicit TensorSource(const std::string& path);
  Status map(const std::string& path);
  void forget(const SourceTensor& tensor) const;  // its bytes need no memory now
  Status add(const Bytes& file);

  const std::string path_, folder_;
  std::vector<MappedFile> mapped_;  // none: the bytes are the caller's
  std::vector<Bytes> files_;
  SourceContents contents_;
  std::map<std::string, size_t, std::less<>> index_;  // name -> index in contents_.tensors
};

// A byte range of the file.
struct ByteRange {
  uint64_t begin = 0;
  uint64_t size = 0;
};

// For the readers: places a tensor whose element 0 is `offset` elements into `storage` and sets its
// file_offset. The shape and strides must be sane and all elements inside the storage. A tensor may not have
// more elements than the file has bytes: a repeating stride would otherwise make a small file ask for any
// amount of memory.
Status place_tensor(const Bytes& file, ByteRange storage, int64_t offset, SourceTensor* tensor);

}  // namespace lsrt
