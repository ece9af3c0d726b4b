// tokenizer.json: what is read, and what is refused by name.
#include "converter/families/tokenizer_json.h"

#include <doctest/doctest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "tests/support/files.h"
#include "tests/support/take.h"

using namespace lsrt;
using namespace lsrt_test;
using nlohmann::json;

namespace {

// Two letters outside of ASCII, each with the bytes C4 80 and C4 81, that stand for the bytes 0 and 1.
json small() {
  json file = json::parse(read_file(data_path("tokenizer/tokenizer.json")));
  json& model = file["model"];
  const json whole = model["vocab"];
  model["vocab"] = json::object();
  int id = 0;
  for (const auto& [name, old] : whole.items()) {
    if (name.size() == 1 || (name.size() == 2 && static_cast<uint8_t>(name[0]) >= 0xC2))
      model["vocab"][name] = id++;
  }
  model["vocab"].update({{"ab", 256},
                         {"\xC4\xA0"
                          "ab",
                          257}});
  model["merges"] = {"a b", "\xC4\xA0 ab"};
  file["added_tokens"] = {{{"id", 258}, {"content", "<end>"}, {"special", true}, {"normalized", false}},
                          {{"id", 260}, {"content", "  "}, {"special", false}}};
  return file;
}

Result<BytePairVocabulary> read(const std::string& text) {
  return read_tokenizer_json({"t.json", reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

void refused(const std::string& text, Error code, const std::string& expected) {
  const Status status = read(text).status();
  CAPTURE(status.message());
  CHECK(status.code() == code);
  CHECK(status.message().find("t.json: ") == 0);
  CHECK(status.message().find(expected) != std::string::npos);
}

void refused(const std::function<void(json*)>& change, Error code, const std::string& expected) {
  json file = small();
  change(&file);
  refused(file.dump(), code, expected);
}

TEST_CASE("vocabulary, merges and added tokens") {
  const auto check = [](const BytePairVocabulary& v) {
    CHECK(v.texts.size() == 261);
    CHECK(v.texts[257] == " ab");
    CHECK(v.texts[258] == "<end>");
    CHECK(v.texts[259].empty());
    REQUIRE(v.merges.size() == 2);
    CHECK(v.merges[1].right == 256);
    CHECK(v.merges[1].joined == 257);
    CHECK(v.texts[v.merges[1].left] == " ");
    REQUIRE(v.added.size() == 2);
    CHECK((v.added[0].id == 258 && v.added[0].special && !v.added[0].normalized));
    CHECK((v.added[1].id == 260 && !v.added[1].special && v.added[1].normalized));
    CHECK(v.nfc);
  };
  json file = small();
  check(take(read(file.dump())));
  file["model"]["merges"] =
      json::array({json::array({"a", "b"}), json::array({"\xC4\xA0", "ab"})});  // as newer files write them
  file["model"]["vocab"]["<end>"] = 258;                                        // listed twice
  check(take(read(file.dump())));
  file["model"].erase("type");
  check(take(read(file.dump())));
  file["normalizer"] = nullptr;
  CHECK(!take(read(file.dump())).nfc);
  file["added_tokens"].push_back({{"id", 256}, {"content", "ab"}});  // made by a merge, too
  CHECK(take(read(file.dump())).texts[256] == "ab");
}

TEST_CASE("what is not done is refused by name") {
  const auto with = [](const char* part, const json& value, const std::string& text) {
    refused([&](json* file) { (*file)[json::json_pointer(part)] = value; }, Error::kUnsupported, text);
  };
  with("/normalizer", {{"type", "NFKC"}}, "normalizer NFKC is not supported");
  with("/normalizer", {{"type", "Sequence"}, {"normalizers", json::array()}}, "normalizer Sequence");
  with("/pre_tokenizer", {{"type", "Metaspace"}}, "pre_tokenizer Metaspace");
  with("/pre_tokenizer", nullptr, "a pre_tokenizer other than ByteLevel");
  with("/pre_tokenizer/add_prefix_space", true, "add_prefix_space");
  with("/pre_tokenizer/use_regex", false, "without use_regex");
  with("/post_processor", {{"type", "TemplateProcessing"}}, "post_processor TemplateProcessing");
  with("/decoder", {{"type", "WordPiece"}}, "decoder WordPiece");
  with("/model/type", "Unigram", "model Unigram");
  with("/model/type", "WordPiece", "model WordPiece");
  with("/model/dropout", 0.1, "model dropout");
  with("/model/byte_fallback", true, "model byte_fallback");
  with("/model/ignore_merges", true, "model ignore_merges");
  with("/model/end_of_word_suffix", "</w>", "model end_of_word_suffix");
  with("/truncation", {{"max_length", 5}}, "truncation");
  with("/added_tokens/0/lstrip", true, "added token '<end>' with lstrip");
  with("/model/vocab/\xE2\x96\x81the", 300, "which is not written in bytes");
  refused([](json* f) { (*f)["model"]["vocab"].erase("a"), (*f)["model"]["merges"].clear(); },
          Error::kUnsupported, "a vocabulary without a token of the byte 0x61");
}

TEST_CASE("what contradicts itself is refused") {
  const auto with = [](const char* part, const json& value, const std::string& text) {
    refused([&](json* file) { (*file)[json::json_pointer(part)] = value; }, Error::kCheckpoint, text);
  };
  with("/model/vocab/ab", 0, "has the id of another one");
  with("/model/vocab/ab", -1, "its id is -1");
  with("/model/vocab/ab", 1 << 20, "its id is 1048576");
  with("/model/vocab/ab", "x", "its id is x");
  with("/model/vocab", json::array(), "expected an object of tokens and ids");
  with("/model/merges", "a b", "expected a list");
  with("/model/merges/0", "a c", "a c are not two tokens that make a third one");
  with("/model/merges/0", "ab", "ab are not two tokens");
  with("/model/merges/0", 7, "7 are not two tokens");
  with("/model/merges/0", {"a"}, "are not two tokens");
  with("/added_tokens", 7, "added_tokens: expected a list");
  with("/added_tokens/0", 7, "expected a text as content");
  with("/added_tokens/0/content", "", "has 0 bytes");
  with("/added_tokens/0/content", std::string(1025, 'x'), "has 1025 bytes, expected 1 to 1024");
  with("/added_tokens/0/id", 260, "has the id of another one");
  with("/model/vocab/<end>", 259, "has another id in vocab");
  refused("{", Error::kCheckpoint, "is no tokenizer.json: it is not JSON at byte");
  refused("[]", Error::kCheckpoint, "it is not an object");
  refused("{}", Error::kUnsupported, "a pre_tokenizer other than ByteLevel (there is none)");
  refused(std::string(100, '['), Error::kCheckpoint, "levels deep");
}

}  // namespace
