#include "runtime/text/tokenizer.h"

#include <algorithm>
#include <tuple>

namespace lsrt {
namespace {

uint8_t byte_at(std::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

}  // namespace

Tokenizer::Tokenizer(const std::vector<std::string>& vocabulary) {
  bytes_.fill(-1);
  longer_begin_.fill(0);
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    const std::string_view text = vocabulary[i];
    const auto id = static_cast<int32_t>(i);
    if (text.size() == 1) {
      int32_t& byte = bytes_[byte_at(text, 0)];
      if (byte < 0) byte = id;
    } else if (!text.empty()) {
      longer_.push_back({text, id});
    }
  }
  std::sort(longer_.begin(), longer_.end(),
            [](const Entry& a, const Entry& b) { return std::tie(a.text, a.id) < std::tie(b.text, b.id); });
  longer_.erase(std::unique(longer_.begin(), longer_.end(),
                            [](const Entry& a, const Entry& b) { return a.text == b.text; }),
                longer_.end());
  for (const Entry& entry : longer_) ++longer_begin_[byte_at(entry.text, 0) + size_t{1}];
  for (size_t byte = 0; byte < 256; ++byte) longer_begin_[byte + 1] += longer_begin_[byte];
}

Tokenizer Tokenizer::of_bytes(int32_t offset) {
  Tokenizer tokenizer(std::vector<std::string>{});
  for (size_t byte = 0; byte < tokenizer.bytes_.size(); ++byte) {
    tokenizer.bytes_[byte] = static_cast<int32_t>(byte) + offset;
  }
  return tokenizer;
}

int32_t Tokenizer::next(std::string_view* text) const {
  const uint8_t front = byte_at(*text, 0);
  int32_t id = bytes_[front];
  size_t taken = id >= 0 ? 1 : 0;
  // Those whose first bytes are the text's, of which there are fewer with every byte.
  auto begin = longer_.begin() + static_cast<std::ptrdiff_t>(longer_begin_[front]);
  auto end = longer_.begin() + static_cast<std::ptrdiff_t>(longer_begin_[front + size_t{1}]);
  for (size_t n = 1; begin != end && n < text->size(); ++n) {
    const uint8_t byte = byte_at(*text, n);
    begin =
        std::lower_bound(begin, end, byte, [n](const Entry& e, uint8_t b) { return byte_at(e.text, n) < b; });
    end =
        std::upper_bound(begin, end, byte, [n](uint8_t b, const Entry& e) { return b < byte_at(e.text, n); });
    if (begin == end || begin->text.size() > n + 1) continue;
    id = begin->id, taken = n + 1;
    ++begin;
  }
  text->remove_prefix(taken);
  return id;
}

}  // namespace lsrt
