#include "converter/families/family.h"

#include <algorithm>

namespace lsrt {

uint32_t golden_positions(size_t vocabulary_size, size_t tokens) {
  constexpr size_t kMost = 1 << 18;
  const size_t fitting = kMost / std::max<size_t>(vocabulary_size, 1);
  return static_cast<uint32_t>(std::clamp<size_t>(fitting, 1, tokens));
}

bool find_prefix(const TensorSource& source, std::string_view suffix,
                 const std::vector<std::string>& witnesses, std::string* prefix) {
  for (const SourceTensor& tensor : source.tensors()) {
    const std::string& name = tensor.name;
    if (name.size() < suffix.size() || name.compare(name.size() - suffix.size(), suffix.size(), suffix) != 0)
      continue;
    *prefix = name.substr(0, name.size() - suffix.size());
    const auto is_there = [&](const std::string& witness) {
      return source.find(*prefix + witness) != nullptr;
    };
    if (std::any_of(witnesses.begin(), witnesses.end(), is_there)) return true;
  }
  return false;
}

namespace {

std::vector<flatbuffers::Offset<fb::Token>> describe_tokens(ModelBuilder& b,
                                                            const std::vector<std::string>& texts) {
  std::vector<flatbuffers::Offset<fb::Token>> tokens;
  for (const std::string& text : texts) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
    tokens.push_back(fb::CreateToken(b.fb(), text.empty() ? 0 : b.fb().CreateVector(bytes, text.size())));
  }
  return tokens;
}

}  // namespace

flatbuffers::Offset<fb::Vocabulary> describe_vocabulary(ModelBuilder& b,
                                                        const std::vector<std::string>& texts) {
  const auto tokens = describe_tokens(b, texts);
  return fb::CreateVocabularyDirect(b.fb(), &tokens);
}

flatbuffers::Offset<fb::Vocabulary> describe_vocabulary(ModelBuilder& b, const BytePairVocabulary& vocabulary,
                                                        size_t size) {
  std::vector<std::string> texts = vocabulary.texts;
  texts.resize(size);
  const auto tokens = describe_tokens(b, texts);
  std::vector<flatbuffers::Offset<fb::AddedToken>> added;
  for (const BytePairs::Added& token : vocabulary.added) {
    added.push_back(fb::CreateAddedToken(b.fb(), token.id, token.normalized, token.special));
  }
  std::vector<uint32_t> merges;
  for (const BytePairs::Merge& merge : vocabulary.merges) {
    merges.insert(merges.end(), {merge.left, merge.right, merge.joined});
  }
  const auto pairs = fb::CreateBytePairsDirect(b.fb(), &merges, &added, vocabulary.nfc);
  return fb::CreateVocabularyDirect(b.fb(), &tokens, pairs);
}

}  // namespace lsrt
