// What text is made of: characters of UTF-8, their classes, and Unicode's normal form C (UAX 15). The tables
// are made by scripts/unicode.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lsrt {

struct Character {
  uint32_t code;  // code point; of a byte that is no part of valid UTF-8: kNoCharacter + byte
  size_t bytes;   // in the text
};
inline constexpr uint32_t kNoCharacter = 0x110000;

// The first of a text that is not empty.
Character first_character(std::string_view text);

enum class CharacterClass : uint8_t { kOther, kLetter, kNumber, kSpace };  // L*, N*, White_Space
CharacterClass character_class(uint32_t code);

// Normal form C. Bytes that are no part of valid UTF-8 stay as they are.
std::string to_nfc(std::string_view text);

}  // namespace lsrt
