#include "runtime/text/bpe_tokenizer.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "runtime/text/unicode.h"

namespace lsrt {
namespace {

std::vector<std::string> added_texts(const std::vector<std::string>& vocabulary, const BytePairs& pairs,
                                     bool normalized) {
  std::vector<std::string> texts;
  for (const BytePairs::Added& added : pairs.added) {
    if (added.normalized != normalized) continue;
    if (texts.empty()) texts.resize(vocabulary.size());
    const std::string& text = vocabulary[added.id];
    texts[added.id] = normalized && pairs.nfc ? to_nfc(text) : text;
  }
  return texts;
}

// Cuts out what has a token of its own: leftmost, longest.
void split(std::string_view text, const Tokenizer& tokens, FunctionRef<void(std::string_view)> piece,
           FunctionRef<void(int32_t)> emit) {
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    std::string_view rest = text.substr(at);
    const int32_t id = tokens.next(&rest);
    if (id < 0) {
      ++at;
      continue;
    }
    if (at > begin) piece(text.substr(begin, at - begin));
    emit(id);
    begin = at = text.size() - rest.size();
  }
  if (begin < text.size()) piece(text.substr(begin));
}

}  // namespace

size_t word_length(std::string_view text) {
  for (const char* ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.substr(0, std::strlen(ending)) == ending) return std::strlen(ending);
  }
  Character character = first_character(text);
  size_t end = character.bytes;
  CharacterClass kind = character_class(character.code);
  if (character.code == ' ' && end < text.size()) {
    character = first_character(text.substr(end));
    const CharacterClass next = character_class(character.code);
    if (next != CharacterClass::kSpace) kind = next, end += character.bytes;
  }
  size_t before_last = 0;  // where the run's last character begins, unless it is its first
  while (end < text.size()) {
    character = first_character(text.substr(end));
    if (character_class(character.code) != kind) break;
    before_last = end;
    end += character.bytes;
  }
  // The last white space before a word goes with the word.
  return kind == CharacterClass::kSpace && end < text.size() && before_last > 0 ? before_last : end;
}

BytePairTokenizer::BytePairTokenizer(const std::vector<std::string>& vocabulary, const BytePairs& pairs)
    : nfc_(pairs.nfc),
      raw_texts_(added_texts(vocabulary, pairs, false)),
      normalized_texts_(added_texts(vocabulary, pairs, true)),
      raw_(raw_texts_),
      normalized_(normalized_texts_),
      first_(vocabulary.size() + 1),
      joins_(pairs.merge_count) {
  std::copy(std::begin(pairs.bytes), std::end(pairs.bytes), bytes_);
  for (size_t i = 0; i < pairs.merge_count; ++i) ++first_[pairs.merges[i].left + 1];
  for (size_t id = 0; id < vocabulary.size(); ++id) first_[id + 1] += first_[id];
  std::vector<uint32_t> next = first_;
  for (size_t i = 0; i < pairs.merge_count; ++i) {
    const BytePairs::Merge& merge = pairs.merges[i];
    joins_[next[merge.left]++] = {merge.right, static_cast<uint32_t>(i), merge.joined};
  }
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    std::sort(joins_.begin() + first_[id], joins_.begin() + first_[id + 1], [](const Join& a, const Join& b) {
      return std::tie(a.right, a.rank) < std::tie(b.right, b.rank);
    });
  }
}

const BytePairTokenizer::Join* BytePairTokenizer::find(uint32_t left, uint32_t right) const {
  const Join *begin = joins_.data() + first_[left], *end = joins_.data() + first_[left + 1];
  const Join* found =
      std::lower_bound(begin, end, right, [](const Join& join, uint32_t id) { return join.right < id; });
  return found != end && found->right == right ? found : nullptr;
}

struct BytePairTokenizer::Word {
  static constexpr size_t kNone = SIZE_MAX;
  struct Symbol {
    uint32_t id;
    size_t before, after;  // its neighbours
    bool gone;             // joined to the one before it
  };
  struct Candidate {
    uint32_t rank, left, right, joined;
    size_t place;
    // The other way round: a heap has its largest in front.
    bool operator<(const Candidate& b) const { return std::tie(b.rank, b.place) < std::tie(rank, place); }
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

void BytePairTokenizer::encode_word(std::string_view word, Word* work,
                                    FunctionRef<void(int32_t)> emit) const {
  auto& symbols = work->symbols;
  auto& heap = work->heap;
  symbols.clear();
  heap.clear();
  const auto consider = [&](size_t place) {
    const size_t after = symbols[place].after;
    if (after == Word::kNone) return;
    const uint32_t left = symbols[place].id, right = symbols[after].id;
    const Join* join = find(left, right);
    if (join == nullptr) return;
    heap.push_back({join->rank, left, right, join->joined, place});
    std::push_heap(heap.begin(), heap.end());
  };
  for (size_t i = 0; i < word.size(); ++i) {
    const auto id = static_cast<uint32_t>(bytes_[static_cast<uint8_t>(word[i])]);
    symbols.push_back({id, i - 1, i + 1 < word.size() ? i + 1 : Word::kNone, false});
  }
  for (size_t i = 0; i + 1 < word.size(); ++i) consider(i);
  while (!heap.empty()) {
    const Word::Candidate best = heap.front();
    std::pop_heap(heap.begin(), heap.end());
    heap.pop_back();
    Word::Symbol& left = symbols[best.place];
    // What has been joined with something else since then is no pair any more.
    if (left.gone || left.id != best.left || left.after == Word::kNone) continue;
    Word::Symbol& right = symbols[left.after];
    if (right.id != best.right) continue;
    left.id = best.joined;
    left.after = right.after;
    right.gone = true;
    if (left.after != Word::kNone) symbols[left.after].before = best.place;
    if (best.place > 0) consider(left.before);
    consider(best.place);
  }
  for (size_t i = 0; i != Word::kNone; i = symbols[i].after) emit(static_cast<int32_t>(symbols[i].id));
}

size_t BytePairTokenizer::encode(std::string_view text, FunctionRef<void(int32_t)> emit) const {
  const auto is_unknown = [&](char byte) { return bytes_[static_cast<uint8_t>(byte)] < 0; };
  const auto unknown = std::find_if(text.begin(), text.end(), is_unknown);
  text = text.substr(0, static_cast<size_t>(unknown - text.begin()));
  Word work;
  const auto words = [&](std::string_view piece) {
    while (!piece.empty()) {
      const size_t length = word_length(piece);
      encode_word(piece.substr(0, length), &work, emit);
      piece.remove_prefix(length);
    }
  };
  const auto normalize = [&](std::string_view piece) {
    if (nfc_) {
      split(to_nfc(piece), normalized_, words, emit);
    } else {
      split(piece, normalized_, words, emit);
    }
  };
  split(text, raw_, normalize, emit);
  return text.size();
}

}  // namespace lsrt
