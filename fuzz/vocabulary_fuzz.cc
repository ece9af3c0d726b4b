// A dict.txt, and the tokens that its vocabulary makes of a text: what follows the first zero byte.
#include "converter/families/dictionary.h"
#include "fuzz/fuzz.h"
#include "runtime/text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto* zero = size ? static_cast<const uint8_t*>(std::memchr(data, 0, size)) : nullptr;
  const size_t file_bytes = zero ? zero - data : size;
  const auto vocabulary = lsrt::read_dictionary({"fuzz", data, file_bytes});
  if (!vocabulary.ok()) return 0;
  const lsrt::Tokenizer tokenizer(vocabulary.value());
  std::string_view rest(reinterpret_cast<const char*>(data) + file_bytes, size - file_bytes);
  while (!rest.empty()) {
    const std::string_view before = rest;
    const int32_t id = tokenizer.next(&rest);
    if (id < 0) {
      lsrt_fuzz::require(rest.size() == before.size(), "what has no token stays");
      rest.remove_prefix(1);
      continue;
    }
    lsrt_fuzz::require(static_cast<size_t>(id) < vocabulary.value().size(),
                       "a token is one of the vocabulary");
    lsrt_fuzz::require(before.substr(0, before.size() - rest.size()) == vocabulary.value()[id],
                       "a token's text is what it took");
    lsrt_fuzz::require(rest.size() < before.size(), "a token takes something");
  }
  return 0;
}
