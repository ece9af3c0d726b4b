// tokenizer.json of Hugging Face: byte-level byte pair encoding, as GPT-2, GPT-NeoX and so Mamba have it.
// Whatever else such a file can ask for is refused by name (kUnsupported).
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "runtime/model/model.h"

namespace lsrt {

struct BytePairVocabulary {
  std::vector<std::string> texts;        // by token id; empty: it has none
  std::vector<BytePairs::Merge> merges;  // by rank
  std::vector<BytePairs::Added> added;
  bool nfc = false;
};

Result<BytePairVocabulary> read_tokenizer_json(const Bytes& file);

}  // namespace lsrt
