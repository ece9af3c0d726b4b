#include "converter/families/dictionary.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "base/text.h"
#include "runtime/model/reader.h"

namespace lsrt {
namespace {

constexpr size_t kSpecialTokens = 4;
constexpr size_t kEndOfSentence = 2;
constexpr std::string_view kPadding = "madeupword";

bool is_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// The byte that a decimal number names, or -1.
int byte_of(std::string_view symbol) {
  if (!is_digits(symbol) || symbol.size() > 3 || (symbol.size() > 1 && symbol[0] == '0')) return -1;
  int value = 0;
  for (char c : symbol) value = 10 * value + (c - '0');
  return value <= 255 ? value : -1;
}

bool is_padding(std::string_view symbol) { return symbol.substr(0, kPadding.size()) == kPadding; }

Result<std::vector<std::string_view>> read_symbols(const Bytes& file) {
  std::string_view text = file.text();
  std::vector<std::string_view> symbols;
  std::unordered_set<std::string_view> seen;
  while (!text.empty()) {
    const size_t line_end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, line_end);
    text.remove_prefix(std::min(line_end + 1, text.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    const size_t space = line.rfind(' ');
    const std::string_view symbol = line.substr(0, space);
    if (space == std::string_view::npos || symbol.empty() || !is_digits(line.substr(space + 1))) {
      return fail(Error::kCheckpoint, "%s: line %zu is \"%s\", expected \"symbol count\"", file.name.c_str(),
                  symbols.size() + 1, printable(line).c_str());
    }
    if (symbol.size() > kMaxTokenBytes || symbols.size() >= kMaxVocabulary) {
      return fail(Error::kUnsupported, "%s: line %zu: more than %u bytes in a symbol, or than %u symbols",
                  file.name.c_str(), symbols.size() + 1, kMaxTokenBytes, kMaxVocabulary);
    }
    if (!seen.insert(symbol).second) {
      return fail(Error::kCheckpoint, "%s: line %zu: symbol %s appears twice", file.name.c_str(),
                  symbols.size() + 1, printable(symbol).c_str());
    }
    symbols.push_back(symbol);
  }
  return symbols;
}

}  // namespace

Result<std::vector<std::string>> read_dictionary(const Bytes& file) {
  LSRT_ASSIGN(const std::vector<std::string_view> symbols, read_symbols(file));
  const bool bytes = std::all_of(symbols.begin(), symbols.end(), [](std::string_view symbol) {
    return is_padding(symbol) || byte_of(symbol) >= 0;
  });
  std::vector<std::string> tokens(kSpecialTokens);
  if (bytes) tokens[kEndOfSentence] = "\n";
  for (std::string_view symbol : symbols) {
    std::string& token = tokens.emplace_back();
    if (is_padding(symbol)) continue;
    if (bytes) {
      // A line of its own for the newline byte would make two tokens of one text; </s> is the one that was
      // trained.
      if (byte_of(symbol) != '\n') token.assign(1, static_cast<char>(byte_of(symbol)));
    } else {
      token = symbol == "_" ? " " : std::string(symbol);
    }
  }
  return tokens;
}

}  // namespace lsrt
