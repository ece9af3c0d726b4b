// Text that came out of a file: it is hostile until checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lsrt {

bool is_utf8(std::string_view text);

// Bytes of the valid UTF-8 character at the start of a text that is not empty (RFC 3629: no overlong forms,
// no surrogates), 0 if there is none.
size_t utf8_length(std::string_view text);
// Whether any valid character has this byte.
inline bool is_of_utf8(uint8_t byte) { return byte < 0xC0 || (byte >= 0xC2 && byte <= 0xF4); }
// Whether more bytes could make a valid character of a text that is cut short.
bool utf8_begins(std::string_view text);

// For JSON: bytes that are not part of valid UTF-8 become '?'.
std::string to_utf8(std::string_view text);

// Valid UTF-8 without control characters (C0, DEL, C1), so that a terminal shows it and does nothing else.
// Model files hold no other text than this, but for the bytes of tokens.
bool is_plain_text(std::string_view text);

// The same made so: whatever is none of it becomes '?'.
std::string plain_text(std::string_view text);

// For messages: at most 80 characters of ASCII, and none that a terminal would act on.
std::string printable(std::string_view text);

}  // namespace lsrt
