// The length of a safetensors file's header.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace lsrt_fuzz {

// A file that begins with its header gets the length in front, up to the last brace; any other stays as it
// is.
inline std::vector<uint8_t> with_header_length(std::vector<uint8_t> file) {
  if (file.empty() || file[0] != '{') return file;
  uint64_t length = file.size();
  while (length > 1 && file[length - 1] != '}') --length;
  uint8_t bytes[sizeof length];
  std::memcpy(bytes, &length, sizeof length);
  file.insert(file.begin(), bytes, bytes + sizeof bytes);
  return file;
}

}  // namespace lsrt_fuzz
