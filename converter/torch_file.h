// The two containers that torch.save writes.
//
// zip (PyTorch 1.6 and later): stored entries ROOT/data.pkl, the pickle, and ROOT/data/KEY, one per storage;
// ROOT is any name. Legacy: a stream of five pickles (a magic number, the protocol version, facts about the
// machine, the object, the list of storage keys), then for each key its number of elements (int64) and its
// raw bytes.
#pragma once

#include <string>

#include "converter/tensor_source.h"
#include "runtime/mapped_file.h"
#include "runtime/status.h"

namespace lsrt {

Result<SourceContents> read_torch_zip(const std::string& path, const MappedFile& file);
Result<SourceContents> read_torch_legacy(const std::string& path, const MappedFile& file);

}  // namespace lsrt
