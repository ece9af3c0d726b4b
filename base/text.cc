#include "base/text.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace lsrt {
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;
  if (lead == 0xED && byte(1) > 0x9F) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

bool utf8_begins(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text[0]);
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() >= length) return false;
  for (const char c : text.substr(1)) {
    if ((static_cast<uint8_t>(c) & 0xC0) != 0x80) return false;
  }
  return true;
}

namespace {

// Whether a valid sequence is a control character: C0 and DEL, or C1 (U+0080 .. U+009F).
bool is_control(std::string_view sequence) {
  const auto lead = static_cast<uint8_t>(sequence[0]);
  if (sequence.size() == 1) return lead < 0x20 || lead == 0x7F;
  return sequence.size() == 2 && lead == 0xC2 && static_cast<uint8_t>(sequence[1]) < 0xA0;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string to_utf8(std::string_view text) {
  std::string result(text);
  for (size_t i = 0; i < result.size();) {
    const size_t length = utf8_length(text.substr(i));
    if (length == 0) result[i] = '?';
    i += std::max<size_t>(length, 1);
  }
  return result;
}

bool is_plain_text(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0 || is_control(text.substr(0, length))) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string plain_text(std::string_view text) {
  std::string result = to_utf8(text);
  for (size_t i = 0; i < result.size();) {
    const size_t length = utf8_length(std::string_view(result).substr(i));
    if (is_control(std::string_view(result).substr(i, length))) result.replace(i, length, "?");
    i += result[i] == '?' ? 1 : length;
  }
  return result;
}

std::string printable(std::string_view text) {
  constexpr size_t kLimit = 80;
  std::string result;
  for (const char c : text.substr(0, kLimit)) result += c >= 0x20 && c < 0x7F ? c : '?';
  if (text.size() > kLimit) result += "...";
  return result;
}

}  // namespace lsrt
