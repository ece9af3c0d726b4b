// Text to token ids by byte-level byte pair encoding, as GPT-2, GPT-NeoX and so Mamba have it (spec mamba,
// section 5): added tokens are cut out; what is left is cut into words; of each word's bytes the adjacent
// pair of the lowest rank is joined, leftmost first, until none has a rank.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "runtime/model/model.h"
#include "runtime/text/tokenizer.h"

namespace lsrt {

class BytePairTokenizer {
 public:
  BytePairTokenizer(const std::vector<std::string>& vocabulary, const BytePairs& pairs);

  // Text is bytes; those that are no UTF-8 are taken for characters that are neither letter, number nor
  // space. Returns the bytes taken: all, or those before the first that has no token, which only bytes that
  // no UTF-8 has can lack.
  size_t encode(std::string_view text, FunctionRef<void(int32_t)> emit) const;

 private:
  struct Join {
    uint32_t right, rank, joined;
  };
  struct Word;  // what joining one takes

  const Join* find(uint32_t left, uint32_t right) const;
  void encode_word(std::string_view word, Word* work, FunctionRef<void(int32_t)> emit) const;

  int32_t bytes_[256];
  const bool nfc_;
  std::vector<std::string> raw_texts_, normalized_texts_;  // of added tokens by id, else empty
  Tokenizer raw_, normalized_;                             // of those
  std::vector<uint32_t> first_;                            // by id: its first one of joins_
  std::vector<Join> joins_;                                // by left id, then by right
};

// The first word of a text that is not empty, as GPT-2 cuts it: bytes.
size_t word_length(std::string_view text);

}  // namespace lsrt
