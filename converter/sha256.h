// SHA-256 (FIPS 180-4), to name the checkpoint that a model was made from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace lsrt {

class Sha256 {
 public:
  void update(const void* data, size_t size);

  // The digest of all bytes so far, as 64 lower-case hexadecimal digits. Ends the computation.
  std::string finish();

 private:
  void compress(const uint8_t* block);

  uint32_t state_[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                        0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};
  uint8_t block_[64] = {};
  uint64_t length_ = 0;  // bytes so far; the last length_ % 64 are in block_
};

}  // namespace lsrt
