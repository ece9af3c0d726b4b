// The safetensors format: 8 bytes little-endian header length, a JSON header, then raw little-endian
// row-major data.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "converter/source/tensor_source.h"

namespace lsrt {

// Content check only: a plausible length, then '{'.
bool looks_like_safetensors(const Bytes& file);

// Strict, as the reference implementation: header of at most 100 MB, unique names, data ranges that tile the
// rest of the file without overlap or hole, each as long as shape x type asks. __metadata__ becomes the
// metadata.
Result<SourceContents> read_safetensors(const Bytes& file);

struct NamedTensor {
  std::string name;
  std::string dtype;           // "F32", "F16", "BF16", "F64", "I64", "I32", "I16", "I8", "U8" or "BOOL"
  std::vector<int64_t> shape;  // [] is one scalar
  const void* data = nullptr;  // contiguous, row-major; not owned, may be null when empty
};

// Writes the tensors in the given order; the file appears whole or not at all.
Status write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                         const std::map<std::string, std::string>& metadata = {});

}  // namespace lsrt
