#include "runtime/text/tokenizer.h"

#include <algorithm>

namespace lsrt {

Tokenizer::Tokenizer(const std::vector<std::string>& vocabulary) {
  bytes_.fill(-1);
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    const std::string& text = vocabulary[id];
    if (text.size() == 1) {
      int32_t& byte = bytes_[static_cast<uint8_t>(text[0])];
      if (byte < 0) byte = static_cast<int32_t>(id);
    } else if (!text.empty()) {
      longer_.emplace(text, static_cast<int32_t>(id));
      longest_ = std::max(longest_, text.size());
    }
  }
}

Tokenizer Tokenizer::of_bytes(int32_t offset) {
  Tokenizer tokenizer(std::vector<std::string>{});
  for (size_t byte = 0; byte < tokenizer.bytes_.size(); ++byte) {
    tokenizer.bytes_[byte] = static_cast<int32_t>(byte) + offset;
  }
  return tokenizer;
}

int32_t Tokenizer::next(std::string_view* text) const {
  for (size_t n = std::min(longest_, text->size()); n > 1; --n) {
    auto found = longer_.find(text->substr(0, n));
    if (found == longer_.end()) continue;
    text->remove_prefix(n);
    return found->second;
  }
  const int32_t id = bytes_[static_cast<uint8_t>(text->front())];
  if (id >= 0) text->remove_prefix(1);
  return id;
}

}  // namespace lsrt
