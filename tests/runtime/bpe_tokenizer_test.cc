// Byte-level byte pair encoding: words, normal form C, added tokens, merges; the C API on top of it.
#include "runtime/text/bpe_tokenizer.h"

#include <doctest/doctest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>

#include "runtime/lsrt.h"
#include "runtime/text/unicode.h"
#include "tests/support/editable_model.h"
#include "tests/support/files.h"
#include "tests/support/random.h"
#include "tests/support/take.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

using Ids = std::vector<int32_t>;

struct Tokens {
  std::shared_ptr<const Model> model;
  BytePairTokenizer tokenizer;

  explicit Tokens(const BytePairVocabulary& vocabulary)
      : model(take(Model::load_bytes(tiny_byte_pairs(vocabulary), "tiny"))),
        tokenizer(model->vocabulary, *model->byte_pairs) {}

  Ids ids(std::string_view text) const {
    Ids made;
    tokenizer.encode(text, [&](int32_t id) { made.push_back(id); });
    return made;
  }
  std::string text(const Ids& ids) const {
    std::string all;
    for (const int32_t id : ids) all += model->vocabulary[static_cast<size_t>(id)];
    return all;
  }
};

Ids bytes(std::string_view text) {
  Ids made;
  for (const char c : text) made.push_back(static_cast<uint8_t>(c) + 1);
  return made;
}

void check_cases(const std::string& folder) {
  const std::string path = folder + "/tokenizer.json", file = read_file(path);
  const Tokens tokens(
      take(read_tokenizer_json({path, reinterpret_cast<const uint8_t*>(file.data()), file.size()})));
  const auto cases = nlohmann::json::parse(read_file(folder + "/cases.json"));
  CHECK(cases.size() == 231);
  for (const auto& one : cases) {
    const auto text = one["text"].get<std::string>();
    CAPTURE(text);
    const Ids ids = tokens.ids(text);
    CHECK(ids == one["ids"].get<Ids>());
    CHECK(tokens.text(ids) == to_nfc(text));
  }
}

TEST_CASE("the tokens of GPT-NeoX's tokenizer for texts of many languages") {
  check_cases(data_path("tokenizer"));
}

TEST_CASE("the same of its whole vocabulary") {
  const std::string folder = shared_path("golden/neox-tokenizer");
  if (!std::filesystem::exists(folder)) {
    MESSAGE("skipped: " << folder << " is not on this machine");
    return;
  }
  check_cases(folder);
}

TEST_CASE("words are cut as GPT-2 cuts them") {
  const auto words = [](std::string_view text) {
    std::vector<std::string> found;
    while (!text.empty()) {
      const size_t length = word_length(text);
      REQUIRE(length > 0);
      found.emplace_back(text.substr(0, length));
      text.remove_prefix(length);
    }
    return found;
  };
  using Words = std::vector<std::string>;
  CHECK(words("it's we'll 'Sam'") == Words{"it", "'s", " we", "'ll", " '", "Sam", "'"});
  CHECK(words("a1 b22, c!") == Words{"a", "1", " b", "22", ",", " c", "!"});
  CHECK(words("a  b\n\n c \t") == Words{"a", " ", " b", "\n\n", " c", " \t"});
  CHECK(words("a \nb") == Words{"a", " ", "\n", "b"});
  CHECK(words("\xE3\x80\x80\xC2\xA0x") ==
        Words{"\xE3\x80\x80", "\xC2\xA0", "x"});  // white space of 3 and 2 bytes
  CHECK(words("\xC3\xA9\xE2\x85\xA0\xFF\xFE") == Words{"\xC3\xA9", "\xE2\x85\xA0", "\xFF\xFE"});
  CHECK(words(" \xFF") == Words{" \xFF"});
}

TEST_CASE("normal form C") {
  CHECK(to_nfc("plain \xC3\xA9") == "plain \xC3\xA9");
  CHECK(to_nfc("e\xCC\x81") == "\xC3\xA9");
  CHECK(to_nfc("\xE2\x84\xAB") == "\xC3\x85");                   // the sign of Angstrom
  CHECK(to_nfc("q\xCC\x87\xCC\xA3") == "q\xCC\xA3\xCC\x87");     // marks in the order of their classes
  CHECK(to_nfc("d\xCC\x87\xCC\xA3") == "\xE1\xB8\x8D\xCC\x87");  // the lower one is joined
  CHECK(to_nfc("a\xCC\x81\xCC\x81") == "\xC3\xA1\xCC\x81");      // the second is blocked by the first
  CHECK(to_nfc("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB") == "\xED\x95\x9C");  // a syllable of Hangul
  CHECK(to_nfc("\xED\x95\x9C") == "\xED\x95\x9C");
  CHECK(to_nfc("\xE0\xA5\x98") == "\xE0\xA4\x95\xE0\xA4\xBC");  // never made again
  CHECK(to_nfc("\xFF"
               "e\xCC\x81\xE3\x81") == "\xFF\xC3\xA9\xE3\x81");  // bytes that are no text
  CHECK(to_nfc("\xCC\x81"
               "e") ==
        "\xCC\x81"
        "e");  // a mark without a character
}

TEST_CASE("pairs are joined by rank, leftmost first, in words of any length") {
  const Tokens tokens(tiny_vocabulary());
  CHECK(tokens.ids("ababab") == Ids{258, 257});
  CHECK(tokens.ids("babab") == Ids{'b' + 1, 258});
  CHECK(tokens.ids(" ab") == Ids{' ' + 1, 257});  // a b before space a
  CHECK(tokens.ids(" aab") == Ids{259, 257});
  CHECK(tokens.ids("").empty());
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "ab";
  CHECK(tokens.ids(text) == Ids(10000, 258));
}

TEST_CASE("added tokens are cut out: some of the text as it is, some of the normalized one") {
  const Tokens tokens(tiny_vocabulary());
  CHECK(tokens.ids("<end>") == Ids{0});
  CHECK(tokens.ids("x<end>ab<end") == Ids{'x' + 1, 0, 257, '<' + 1, 'e' + 1, 'n' + 1, 'd' + 1});
  CHECK(tokens.ids("a   a") == Ids{'a' + 1, 261, 259});
  CHECK(tokens.ids("e\xCC\x81") == Ids{260});
  BytePairVocabulary plain = tiny_vocabulary();
  plain.nfc = false;
  CHECK(Tokens(plain).ids("e\xCC\x81") == bytes("e\xCC\x81"));
}

TEST_CASE("any bytes have tokens, which give them back") {
  BytePairVocabulary plain = tiny_vocabulary();
  plain.nfc = false;
  const Tokens tokens(plain);
  Random random(7);
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (int n = random.in(0, 60); n > 0; --n) {
      const char* pieces[] = {"a", "b", " ", "<end>", "\xC3", "\xA9", "\xE3\x80\x80", "'s", "\n", "\xFF"};
      text += pieces[random.in(0, 9)];
    }
    CHECK(tokens.text(tokens.ids(text)) == text);
  }
}

TEST_CASE("the loader checks byte pairs") {
  const auto refused = [](const std::function<void(BytePairVocabulary*)>& change, const std::string& text) {
    BytePairVocabulary v = tiny_vocabulary();
    change(&v);
    check_refused(tiny_byte_pairs(v), Error::kModel, text);
  };
  refused([](auto* v) { v->merges[1] = {257, 258, 258}; }, "merges: 1 does not join two tokens");
  refused([](auto* v) { v->merges[0].left = 9999; }, "merges: 0 does not join two tokens");
  refused([](auto* v) { v->merges[2] = {262, 33, 33}; }, "merges: 2 does not join two tokens");
  refused(
      [](auto* v) {
        v->added.push_back({9999, false, false});
      },
      "token 9999 appears twice or has no text");
  refused([](auto* v) { v->added.push_back({262, false, false}); }, "token 262 appears twice or has no text");
  refused([](auto* v) { v->added.push_back({0, false, false}); }, "token 0 appears twice or has no text");
  refused([](auto* v) { v->added.push_back({98, false, false}); }, "no token stands for the byte 0x61");
  refused([](auto* v) { v->texts[98] = "aa", v->merges.clear(); }, "no token stands for the byte 0x61");
  Editable older{tiny_byte_pairs(tiny_vocabulary(), {/*force_defaults=*/true, false})};
  older.set<uint32_t>(older.root(), fb::Model::VT_FORMAT, 2);
  check_refused(older.bytes, Error::kModel, "a model of format 2 has none");
}

TEST_CASE("bytes that no UTF-8 has may lack a token") {
  BytePairVocabulary v = tiny_vocabulary();
  v.texts[0xFF + 1] = "ff";
  const Tokens tokens(v);
  Ids made;
  CHECK(tokens.tokenizer.encode("e\xCC\x81"
                                "ab\xFFx",
                                [&](int32_t id) { made.push_back(id); }) == 5);
  CHECK(made == Ids{260, 257});
}

TEST_CASE("the C API: tokens, their text, and what of it can be shown") {
  const ModelBytes file = tiny_byte_pairs();
  lsrt_model* model = nullptr;
  REQUIRE(lsrt_model_load_buffer(file.data(), file.size(), nullptr, &model) == LSRT_OK);
  int32_t ids[8];
  size_t count = 0;
  REQUIRE(lsrt_tokenize(model, "ab<end>\xC3\xA9", 9, ids, 8, &count) == LSRT_OK);
  CHECK(Ids(ids, ids + count) == Ids{257, 0, 260});
  CHECK(lsrt_tokenize(model, "abc", 3, ids, 1, &count) == LSRT_ERROR_MEMORY);
  CHECK(count == 2);
  CHECK(lsrt_token_special(model, 0));
  for (const int32_t id : {-1, 1, 257, 261, 100000}) CHECK(!lsrt_token_special(model, id));

  char text[8];
  size_t size = 0;
  const int32_t both[] = {257, 260, 9999};
  REQUIRE(lsrt_detokenize(model, both, 3, text, sizeof text, &size) == LSRT_OK);
  CHECK(std::string(text, size) == "ab\xC3\xA9");
  CHECK(lsrt_detokenize(model, both, 2, text, 3, &size) == LSRT_ERROR_MEMORY);
  CHECK(size == 4);
  CHECK(lsrt_detokenize(model, both, 2, nullptr, 0, &size) == LSRT_ERROR_MEMORY);
  CHECK(size == 4);
  lsrt_model_free(model);

  const std::string whole = "a\xC3\xA9\xE3\x80\x80\xF0\x9F\x98\x80";
  const size_t shown[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10};
  for (size_t n = 0; n <= whole.size(); ++n) CHECK(lsrt_whole_text(whole.data(), n) == shown[n]);
  CHECK(lsrt_whole_text("a\xFF", 2) == 2);  // never a character
}

}  // namespace
