// The tensors of a pickled PyTorch object, told by the function that would rebuild them (torch/_utils.py).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "converter/source/pickle.h"
#include "converter/source/tensor_source.h"

namespace lsrt {

// Element type of a storage or tensor.
struct TorchType {
  PickleName global;                 // PyTorch's class or dtype
  std::optional<SourceType> source;  // empty: the type cannot be read
  uint64_t size = 0;                 // bytes of one element; 0: unknown
};

// A tensor as written in the pickle, not checked beyond its kind.
struct TorchTensor {
  PickleId storage = kNoValue;
  PickleId offset = kNoValue;
  PickleId shape = kNoValue;
  PickleId strides = kNoValue;
  TorchType type;
};

// A storage as referred to by a pickle: ('storage', class, key, location, count[, view]).
struct TorchStorage {
  std::string_view key;
  TorchType type;
  uint64_t count = 0;  // elements of the whole storage
  // A view, in legacy files only: a part of another storage, in elements.
  bool is_view = false;
  uint64_t view_offset = 0;
  uint64_t view_count = 0;
};

// Recognises tensors and what PyTorch wraps them in (Parameter, tensor subclasses). Empty for all else.
std::optional<TorchTensor> find_torch_tensor(const Pickle& pickle, PickleId id);

// Empty when the value is not a well-formed reference to a storage.
std::optional<TorchStorage> find_torch_storage(const Pickle& pickle, PickleId id);

// The items of a list, tuple or torch.Size; nullptr for all else.
const std::vector<PickleId>* find_sequence(const Pickle& pickle, PickleId id);

// Byte ranges of the storages of a file, by key.
using TorchStorages = std::map<std::string_view, ByteRange>;

// Checks the tensor against its storage, and places it.
Result<SourceTensor> place_torch_tensor(const Bytes& file, const Pickle& pickle,
                                        const TorchStorages& storages, std::string_view name,
                                        const TorchTensor& tensor);

}  // namespace lsrt
