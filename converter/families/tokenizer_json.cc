#include "converter/families/tokenizer_json.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "converter/source/json_text.h"
#include "runtime/model/limits.h"

namespace lsrt {
namespace {

using nlohmann::json;

// Vocabulary (a name and an id each) and merges (a list of two each) of the largest model.
constexpr JsonLimits kLimits{16, 6 * size_t{kMaxVocabulary}};

// Vocabulary and merges are written in characters of which each stands for a byte: printable ones for
// themselves, the others for U+0100 and up, in order.
std::array<int, 512> bytes_of_characters() {
  std::array<int, 512> bytes;
  bytes.fill(-1);
  size_t next = 256;
  for (size_t byte = 0; byte < 256; ++byte) {
    const bool is_printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    bytes[is_printable ? byte : next++] = static_cast<int>(byte);
  }
  return bytes;
}

// False: some character stands for no byte.
bool to_bytes(std::string_view written, std::string* out) {
  static const std::array<int, 512> bytes = bytes_of_characters();
  out->clear();
  for (size_t i = 0; i < written.size(); ++i) {
    size_t code = static_cast<uint8_t>(written[i]);
    if (code >= 0x80) {  // valid UTF-8; the characters are below U+0200, of two bytes
      if (code >= 0xC8 || i + 1 == written.size()) return false;
      code = (code & 0x1F) << 6 | (static_cast<uint8_t>(written[++i]) & 0x3F);
    }
    if (bytes[code] < 0) return false;
    out->push_back(static_cast<char>(bytes[code]));
  }
  return true;
}

class Reader {
 public:
  Reader(const std::string& path, const json& file) : path_(path), file_(file) {}

  Result<BytePairVocabulary> read() {
    LSRT_TRY(check_settings());
    LSRT_TRY(read_vocabulary());
    LSRT_TRY(read_added());
    LSRT_TRY(read_merges());
    LSRT_TRY(check_bytes());
    return std::move(result_);
  }

 private:
  static constexpr char kHint[] = "; without a tokenizer.json a model is converted without text";

  Status refuse(const std::string& what) const {
    return fail(Error::kUnsupported, "%s: %s is not supported%s", path_.c_str(), what.c_str(), kHint);
  }
  Status wrong(const std::string& what) const {
    return fail(Error::kCheckpoint, "%s: %s", path_.c_str(), what.c_str());
  }

  static const json& at(const json& object, const std::string& name) {
    static const json kNull;
    const auto found = object.is_object() ? object.find(name) : object.end();
    return found != object.end() ? *found : kNull;
  }
  // For messages.
  static std::string shown(const json& value) {
    return printable(value.is_string() ? value.get<std::string>() : value.dump());
  }
  static bool is_on(const json& value) { return !value.is_null() && value != false; }

  // A part of the file by its "type"; only these (and none) are known.
  Status check_part(const char* name, std::initializer_list<const char*> types) const {
    const json& part = at(file_, name);
    if (part.is_null()) return {};
    const json& type = at(part, "type");
    for (const char* known : types) {
      if (type == known) return {};
    }
    return refuse(std::string(name) + " " + (type.is_string() ? shown(type) : shown(part)));
  }

  Status check_settings() {
    for (const char* name : {"truncation", "padding"}) {
      if (is_on(at(file_, name))) return refuse(name);
    }
    LSRT_TRY(check_part("normalizer", {"NFC"}));
    LSRT_TRY(check_part("pre_tokenizer", {"ByteLevel"}));
    LSRT_TRY(check_part("post_processor", {"ByteLevel"}));
    LSRT_TRY(check_part("decoder", {"ByteLevel"}));
    result_.nfc = !at(file_, "normalizer").is_null();
    const json& words = at(file_, "pre_tokenizer");
    if (words.is_null()) return refuse("a pre_tokenizer other than ByteLevel (there is none)");
    if (is_on(at(words, "add_prefix_space"))) return refuse("pre_tokenizer ByteLevel with add_prefix_space");
    if (at(words, "use_regex") == false) return refuse("pre_tokenizer ByteLevel without use_regex");
    const json& model = at(file_, "model");
    // Files of the first versions do not name the type.
    const json& type = at(model, "type");
    const bool is_unnamed = type.is_null() && at(model, "merges").is_array();
    if (type != "BPE" && !is_unnamed) return refuse("model " + shown(type));
    for (const char* name : {"dropout", "fuse_unk", "byte_fallback", "ignore_merges"}) {
      if (is_on(at(model, name)) && at(model, name) != 0) return refuse(std::string("model ") + name);
    }
    for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (is_on(at(model, name)) && at(model, name) != "") return refuse(std::string("model ") + name);
    }
    return {};
  }

  Status place(const json& id, const std::string& text, const std::string& name) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= kMaxVocabulary) {
      return wrong("token '" + printable(name) + "': its id is " + shown(id) + ", expected 0 to " +
                   std::to_string(kMaxVocabulary - 1));
    }
    if (text.empty() || text.size() > kMaxTokenBytes) {
      return wrong("token '" + printable(name) + "' has " + std::to_string(text.size()) +
                   " bytes, expected 1 to " + std::to_string(kMaxTokenBytes));
    }
    const auto index = id.get<size_t>();
    if (index >= result_.texts.size()) result_.texts.resize(index + 1);
    std::string& held = result_.texts[index];
    if (!held.empty()) return wrong("token '" + printable(name) + "' has the id of another one");
    held = text;
    return {};
  }

  // Names of added tokens are their text, those of the others are in characters that stand for bytes.
  Status read_vocabulary() {
    const json& vocabulary = at(at(file_, "model"), "vocab");
    if (!vocabulary.is_object()) return wrong("model vocab: expected an object of tokens and ids");
    for (const json& token : at(file_, "added_tokens")) {
      const json& content = at(token, "content");
      if (content.is_string()) is_added_.insert(content.get<std::string>());
    }
    std::string text;
    for (const auto& [name, id] : vocabulary.items()) {
      const bool is_written = to_bytes(name, &text);
      if (is_added_.count(name) != 0) {
        if (is_written && text == name && text.size() > 1 && id.is_number_unsigned())
          ids_.emplace(text, id.get<uint32_t>());
        continue;  // read_added() places it
      }
      if (!is_written) {
        return refuse("token '" + printable(name) +
                      "', which is not written in bytes of a ByteLevel vocabulary,");
      }
      LSRT_TRY(place(id, text, name));
      ids_.emplace(text, id.get<uint32_t>());
    }
    return {};
  }

  Status read_added() {
    const json& list = at(file_, "added_tokens");
    if (!list.is_null() && !list.is_array()) return wrong("added_tokens: expected a list");
    if (list.size() > kMaxAddedTokens)
      return refuse("over " + std::to_string(kMaxAddedTokens) + " added_tokens");
    const json& vocabulary = at(at(file_, "model"), "vocab");
    for (const json& token : list) {
      const json& content = at(token, "content");
      if (!content.is_string()) return wrong("added_tokens: expected a text as content of each");
      const auto text = content.get<std::string>();
      for (const char* name : {"single_word", "lstrip", "rstrip"}) {
        if (is_on(at(token, name))) return refuse("added token '" + printable(text) + "' with " + name);
      }
      const json& known = at(vocabulary, text);
      if (!known.is_null() && known != at(token, "id")) {
        return wrong("added token '" + printable(text) + "' has another id in vocab");
      }
      LSRT_TRY(place(at(token, "id"), text, text));
      const bool special = is_on(at(token, "special"));
      const json& normalized = at(token, "normalized");
      result_.added.push_back(
          {at(token, "id").get<uint32_t>(), normalized.is_null() ? !special : is_on(normalized), special});
    }
    return {};
  }

  Status read_merges() {
    const json& list = at(at(file_, "model"), "merges");
    if (!list.is_null() && !list.is_array()) return wrong("model merges: expected a list");
    std::string left, right;
    for (const json& merge : list) {
      std::string written[2];
      if (merge.is_string()) {
        const auto pair = merge.get<std::string>();
        const size_t space = std::min(pair.find(' '), pair.size());
        written[0] = pair.substr(0, space), written[1] = pair.substr(std::min(space + 1, pair.size()));
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        written[0] = merge[0].get<std::string>(), written[1] = merge[1].get<std::string>();
      }
      const auto id_of = [&](const std::string& text) { return ids_.find(text); };
      const bool is_written = to_bytes(written[0], &left) && to_bytes(written[1], &right);
      const auto a = id_of(left), b = id_of(right), joined = id_of(left + right);
      if (!is_written || a == ids_.end() || b == ids_.end() || joined == ids_.end()) {
        return wrong("model merges: " + shown(merge) + " are not two tokens that make a third one");
      }
      result_.merges.push_back({a->second, b->second, joined->second});
    }
    return {};
  }

  Status check_bytes() const {
    for (int byte = 0; byte < 256; ++byte) {
      if (!is_of_utf8(static_cast<uint8_t>(byte)) || ids_.count(std::string(1, static_cast<char>(byte))) != 0)
        continue;
      char text[80];
      std::snprintf(text, sizeof text, "a vocabulary without a token of the byte 0x%02X", byte);
      return refuse(text);
    }
    return {};
  }

  const std::string path_;
  const json& file_;
  BytePairVocabulary result_;
  std::set<std::string> is_added_;
  std::map<std::string, uint32_t> ids_;  // of all but added tokens, by bytes
};

}  // namespace

Result<BytePairVocabulary> read_tokenizer_json(const Bytes& file) {
  std::string problem;
  const json tree = parse_json(file.text(), kLimits, &problem);
  if (problem.empty() && !tree.is_object()) problem = "it is not an object";
  if (!problem.empty()) {
    return fail(Error::kCheckpoint, "%s: is no tokenizer.json: %s", file.name.c_str(), problem.c_str());
  }
  return Reader(file.name, tree).read();
}

}  // namespace lsrt
