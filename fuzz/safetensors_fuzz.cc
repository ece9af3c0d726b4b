// Safetensors checkpoints. The file is the input with the header's length put in front of it, which a
// mutation would seldom get right; an input that begins with a zero byte is taken as a whole file.
#include <vector>

#include "fuzz/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  if (data[0] == 0) {
    lsrt_fuzz::read_checkpoint(data + 1, size - 1);
    return 0;
  }
  // The header ends at the last brace; the data follows.
  uint64_t header = size;
  while (header > 0 && data[header - 1] != '}') --header;
  std::vector<uint8_t> file(sizeof header + size);
  std::memcpy(file.data(), &header, sizeof header);
  std::memcpy(&file[sizeof header], data, size);
  lsrt_fuzz::read_checkpoint(file.data(), file.size());
  return 0;
}
