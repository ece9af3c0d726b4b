// The two containers that torch.save writes.
//
// zip (PyTorch 1.6 and later): stored entries ROOT/data.pkl, the pickle, and ROOT/data/KEY, one per storage;
// ROOT is any name, and the only one. Legacy: a stream of five pickles (a magic number, the protocol version,
// facts about the machine, the object, the list of storage keys), then for each key its number of elements
// (int64) and its raw bytes.
#pragma once

#include "base/bytes.h"
#include "base/status.h"
#include "converter/source/tensor_source.h"

namespace lsrt {

Result<SourceContents> read_torch_zip(const Bytes& file);
Result<SourceContents> read_torch_legacy(const Bytes& file);

}  // namespace lsrt
