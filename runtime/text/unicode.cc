#include "runtime/text/unicode.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>
#include <vector>

#include "base/text.h"

namespace lsrt {
namespace {

struct Run {
  uint32_t first, last;
  uint8_t value = 0;
};
constexpr Run kLetters[] = {
#include "runtime/text/unicode_letters.inc"
};
constexpr Run kNumbers[] = {
#include "runtime/text/unicode_numbers.inc"
};
constexpr Run kMarks[] = {
#include "runtime/text/unicode_marks.inc"
};
constexpr Run kSpaces[] = {{0x09, 0x0D},     {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},
                           {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                           {0x205F, 0x205F}, {0x3000, 0x3000}};

template <size_t n>
const Run* find_run(const Run (&runs)[n], uint32_t code) {
  const Run* run = std::lower_bound(std::begin(runs), std::end(runs), code,
                                    [](const Run& r, uint32_t c) { return r.last < c; });
  return run != std::end(runs) && run->first <= code ? run : nullptr;
}

struct Composed {
  uint32_t code, first, second;
};
constexpr Composed kPairs[] = {
#include "runtime/text/unicode_pairs.inc"
};
constexpr Composed kParts[] = {
#include "runtime/text/unicode_parts.inc"
};

// Syllables of Hangul are made of a leading consonant, a vowel and perhaps a trailing consonant (Unicode
// 3.12).
constexpr uint32_t kSyllable = 0xAC00, kLeading = 0x1100, kVowel = 0x1161, kTrailing = 0x11A7;
constexpr uint32_t kLeadings = 19, kVowels = 21, kTrailings = 28;

uint8_t combining_class(uint32_t code) {
  const Run* run = code < 0x300 ? nullptr : find_run(kMarks, code);
  return run != nullptr ? run->value : 0;
}

template <size_t n>
const Composed* find_parts(const Composed (&list)[n], uint32_t code) {
  const Composed* found =
      std::lower_bound(std::begin(list), std::end(list), code,
                       [](const Composed& c, uint32_t wanted) { return c.code < wanted; });
  return found != std::end(list) && found->code == code ? found : nullptr;
}

void decompose(uint32_t code, std::vector<uint32_t>* out) {
  if (code < 0xC0) return out->push_back(code);
  if (code >= kSyllable && code < kSyllable + kLeadings * kVowels * kTrailings) {
    const uint32_t index = code - kSyllable;
    out->push_back(kLeading + index / (kVowels * kTrailings));
    out->push_back(kVowel + index / kTrailings % kVowels);
    if (index % kTrailings != 0) out->push_back(kTrailing + index % kTrailings);
    return;
  }
  const Composed* parts = find_parts(kPairs, code);
  if (parts == nullptr) parts = find_parts(kParts, code);
  if (parts == nullptr) return out->push_back(code);
  decompose(parts->first, out);
  if (parts->second != 0) decompose(parts->second, out);
}

// What the two make together; 0: nothing.
uint32_t compose(uint32_t first, uint32_t second) {
  if (first - kLeading < kLeadings && second - kVowel < kVowels) {
    return kSyllable + ((first - kLeading) * kVowels + second - kVowel) * kTrailings;
  }
  if (first - kSyllable < kLeadings * kVowels * kTrailings && (first - kSyllable) % kTrailings == 0 &&
      second - kTrailing - 1 < kTrailings - 1) {
    return first + second - kTrailing;
  }
  using Parts = std::pair<uint32_t, uint32_t>;
  using Entry = std::pair<Parts, uint32_t>;
  static const std::vector<Entry> by_parts = [] {
    std::vector<Entry> entries;
    for (const Composed& c : kPairs) entries.push_back({{c.first, c.second}, c.code});
    std::sort(entries.begin(), entries.end());
    return entries;
  }();
  const auto found = std::lower_bound(by_parts.begin(), by_parts.end(), Entry{{first, second}, 0});
  return found != by_parts.end() && found->first == Parts{first, second} ? found->second : 0;
}

// Marks behind each character in the order of their classes.
void sort_marks(std::vector<uint32_t>* codes) {
  const auto by_class = [](uint32_t a, uint32_t b) { return combining_class(a) < combining_class(b); };
  for (auto from = codes->begin(); from != codes->end();) {
    auto to = from;
    while (to != codes->end() && combining_class(*to) != 0) ++to;
    std::stable_sort(from, to, by_class);
    from = to == codes->end() ? to : to + 1;
  }
}

// Joins each character with what follows it and is not blocked from it by a mark of the same or a higher
// class.
void join(std::vector<uint32_t>* codes) {
  size_t end = 0, starter = codes->size();  // none so far
  uint8_t last_class = 0;
  for (const uint32_t code : *codes) {
    const uint8_t own_class = combining_class(code);
    const bool is_free = starter + 1 == end || (starter < end && last_class < own_class);
    if (is_free && code >= 0x300) {  // none below is the second of two
      if (const uint32_t joined = compose((*codes)[starter], code)) {
        (*codes)[starter] = joined;
        continue;
      }
    }
    if (own_class == 0) starter = end;
    last_class = own_class;
    (*codes)[end++] = code;
  }
  codes->resize(end);
}

void append(uint32_t code, std::string* out) {
  if (code >= kNoCharacter) return out->push_back(static_cast<char>(code - kNoCharacter));
  if (code < 0x80) return out->push_back(static_cast<char>(code));
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  const uint32_t lead = more == 1 ? 0xC0 : more == 2 ? 0xE0 : 0xF0;
  out->push_back(static_cast<char>(lead | code >> (6 * more)));
  for (int i = more - 1; i >= 0; --i) out->push_back(static_cast<char>(0x80 | (code >> (6 * i) & 0x3F)));
}

}  // namespace

Character first_character(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(text[i])); };
  if (byte(0) < 0x80) return {byte(0), 1};
  const size_t length = utf8_length(text);
  if (length == 0) return {kNoCharacter + byte(0), 1};
  uint32_t code = byte(0) & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) code = code << 6 | (byte(i) & 0x3F);
  return {code, length};
}

CharacterClass character_class(uint32_t code) {
  const auto look_up = [](uint32_t c) {
    if (find_run(kLetters, c) != nullptr) return CharacterClass::kLetter;
    if (find_run(kNumbers, c) != nullptr) return CharacterClass::kNumber;
    return find_run(kSpaces, c) != nullptr ? CharacterClass::kSpace : CharacterClass::kOther;
  };
  static const auto ascii = [&] {
    std::array<CharacterClass, 128> classes;
    for (uint32_t c = 0; c < classes.size(); ++c) classes[c] = look_up(c);
    return classes;
  }();
  return code < ascii.size() ? ascii[code] : look_up(code);
}

std::string to_nfc(std::string_view text) {
  // No character below U+0300, whose first byte is at most 0xCB, changes or is changed by another of them.
  const auto is_low = [](char c) { return static_cast<uint8_t>(c) < 0xCC; };
  if (std::all_of(text.begin(), text.end(), is_low)) return std::string(text);
  std::vector<uint32_t> codes;
  codes.reserve(text.size());
  for (std::string_view rest = text; !rest.empty();) {
    const Character character = first_character(rest);
    decompose(character.code, &codes);
    rest.remove_prefix(character.bytes);
  }
  sort_marks(&codes);
  join(&codes);
  std::string out;
  out.reserve(text.size());
  for (const uint32_t code : codes) append(code, &out);
  return out;
}

}  // namespace lsrt
