// A tokenizer.json, and the tokens that it makes of a text: what follows the first zero byte.
#include "base/text.h"
#include "converter/families/tokenizer_json.h"
#include "fuzz/fuzz.h"
#include "runtime/text/bpe_tokenizer.h"
#include "runtime/text/unicode.h"
#include "tests/support/tiny_models.h"

using namespace lsrt;
using lsrt_fuzz::require;

namespace {

void check_text(const Model& model, std::string_view text) {
  const BytePairTokenizer tokenizer(model.vocabulary, *model.byte_pairs);
  std::string made;
  bool is_exact = !model.byte_pairs->nfc;
  for (const BytePairs::Added& added : model.byte_pairs->added) {
    // The text of a token that is looked for in normal form need not be in normal form.
    is_exact = is_exact && !added.normalized;
  }
  size_t count = 0;
  const size_t taken = tokenizer.encode(text, [&](int32_t id) {
    require(id >= 0 && static_cast<size_t>(id) < model.vocabulary.size(), "a token is one of the vocabulary");
    require(!model.vocabulary[static_cast<size_t>(id)].empty(), "a token has text");
    made += model.vocabulary[static_cast<size_t>(id)];
    ++count;
  });
  require(taken == text.size() || !is_of_utf8(static_cast<uint8_t>(text[taken])), "what UTF-8 has is taken");
  if (is_exact) require(made == text.substr(0, taken), "the tokens' text is the text");
  if (!model.byte_pairs->nfc) require(count <= text.size(), "there are no more tokens than bytes");
  const std::string normal = to_nfc(text);
  require(to_nfc(normal) == normal, "a normal form is its own");
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto* zero = size ? static_cast<const uint8_t*>(std::memchr(data, 0, size)) : nullptr;
  const size_t file_bytes = zero ? static_cast<size_t>(zero - data) : size;
  const std::string_view text(reinterpret_cast<const char*>(data) + file_bytes, size - file_bytes);
  const auto read = read_tokenizer_json({"fuzz", data, file_bytes});
  if (!read.ok()) {
    require(read.status().message().find("fuzz") == 0, "a refusal names the file first");
    // The text still meets a tokenizer.
    static const auto tiny = Model::load_bytes(lsrt_test::tiny_byte_pairs(), "tiny").take();
    check_text(*tiny, text);
    return 0;
  }
  if (read.value().texts.size() > 4096) return 0;  // an embedding that takes long to write
  const auto model = Model::load_bytes(lsrt_test::tiny_byte_pairs(read.value()), "written");
  require(model.ok(), "what the converter reads, the loader takes");
  check_text(*model.value(), text);
  return 0;
}
