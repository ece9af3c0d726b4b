// Text to token ids: at every place the longest text in the vocabulary that fits. Text is bytes, whatever
// they mean.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lsrt {

class Tokenizer {
 public:
  // The vocabulary by id must outlive the tokenizer. Ids with empty text are never made; of equal texts the
  // lowest id is.
  explicit Tokenizer(const std::vector<std::string>& vocabulary);
  // Of models without texts of tokens: every byte is the token byte + offset.
  static Tokenizer of_bytes(int32_t offset);

  // Takes the next token off the front of a text that is not empty. -1: none fits.
  int32_t next(std::string_view* text) const;

 private:
  struct Entry {
    std::string_view text;
    int32_t id;
  };
  std::array<int32_t, 256> bytes_;  // ids of texts of one byte, or -1
  std::vector<Entry> longer_;       // all other texts, sorted; not hashed: a file could make all collide
  std::array<size_t, 257> longer_begin_;  // of those by their first byte
};

}  // namespace lsrt
