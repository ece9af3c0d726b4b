// From the unpickled root of a PyTorch checkpoint to tensors and metadata.
//
// The state dict: see tensor_source.h. Metadata is everything else as a JSON tree: dictionaries (also
// OrderedDict, defaultdict, ...) become objects with their keys turned into text, lists, tuples and sets
// become arrays, bytes become text, NaN and infinities null, integers over 64 bits their bytes as hexadecimal
// text. A tensor becomes
// {"tensor": {"shape": [...], "type": "f32"}}. A class or function is its name, "module.name". Any other
// object becomes
// {"__class__": "module.name", "__args__": [...], "__items__": ..., attributes...}; the empty ones are left
// out. OmegaConf nodes become what they contain. Inside itself, a value becomes null.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/status.h"
#include "converter/source/pickle.h"
#include "converter/source/tensor_source.h"
#include "converter/source/torch_tensor.h"

namespace lsrt {

// Fills tensors and metadata. Error::kCheckpoint when there is no state dict, or when something in it is out
// of range.
Status read_torch_state(const Bytes& file, Pickle pickle, const TorchStorages& storages,
                        SourceContents* contents);

// One value and all it holds. Error::kCheckpoint when it is over 100 levels deep or makes over 1 Mi values or
// 64 MiB of text, which only files made for that purpose do.
Result<nlohmann::json> pickle_to_json(const Bytes& file, const Pickle& pickle, PickleId id);

}  // namespace lsrt
