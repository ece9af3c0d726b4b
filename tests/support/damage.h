// Changes model files in ways that know their structure: numbers, extents, types, spans, and which table
// stands where.
#pragma once

#include <cstring>
#include <limits>
#include <vector>

#include "runtime/model/model.h"
#include "schema/lsrt_generated.h"
#include "tests/support/random.h"

namespace lsrt_test {

using namespace lsrt;

// Where in a model file the header has what. Offsets from the start of the file.
class HeaderSites {
 public:
  struct Reference {  // a field that points to a table
    size_t at, target;
    int kind;  // only references of one kind can stand for each other
  };
  std::vector<size_t> numbers;  // 32 bits: heads, windows, extents of shapes, lengths of lists
  std::vector<size_t> floats;   // 32 bits
  std::vector<size_t> bytes;    // 8 bits: kinds, types, flags
  std::vector<size_t> spans;    // 128 bits: offset, size
  std::vector<Reference> references;
  size_t header_bytes = 0;  // up to the first span

  explicit HeaderSites(const ModelBytes& file) : base_(file.data()) {
    model(*fb::GetModel(base_));
    header_bytes = file.size();
    for (size_t at : spans) {
      uint64_t offset;
      std::memcpy(&offset, base_ + at, sizeof offset);
      if (offset > 0) header_bytes = std::min<size_t>(header_bytes, offset);
    }
  }

 private:
  enum Kind { kTensor, kLinear, kNorm, kOther };  // others: kOther + the place in a table

  using Field = flatbuffers::voffset_t;
  static const flatbuffers::Table* table(const void* t) { return static_cast<const flatbuffers::Table*>(t); }
  size_t place(const void* pointer) const { return static_cast<const uint8_t*>(pointer) - base_; }

  void add(std::vector<size_t>* sites, const void* t, std::initializer_list<int> fields) {
    for (int field : fields) {
      if (const uint8_t* at = table(t)->GetAddressOf(static_cast<Field>(field))) sites->push_back(place(at));
    }
  }
  void refer(const void* t, int field, int kind) {
    const uint8_t* at = table(t)->GetAddressOf(static_cast<Field>(field));
    if (at) references.push_back({place(at), place(at) + flatbuffers::ReadScalar<uint32_t>(at), kind});
  }
  template <typename T>
  void length(const flatbuffers::Vector<T>* list) {
    numbers.push_back(place(list->Data()) - sizeof(uint32_t));
  }
  template <typename T>
  void elements(const flatbuffers::Vector<flatbuffers::Offset<T>>* list, int kind) {
    length(list);
    for (uint32_t i = 0; i < list->size(); ++i) {
      references.push_back({place(list->Data()) + i * sizeof(uint32_t), place(list->Get(i)), kind});
    }
  }

  void tensor(const void* owner, int field, const fb::Tensor* t) {
    using T = fb::Tensor;
    if (!t) return;
    refer(owner, field, kTensor);
    add(&bytes, t, {T::VT_TYPE});
    add(&spans, t, {T::VT_DATA, T::VT_SCALES, T::VT_SUMS});
    length(t->shape());
    for (uint32_t i = 0; i < t->shape()->size(); ++i) numbers.push_back(place(t->shape()->Data()) + 4 * i);
  }
  void linear(const void* owner, int field, const fb::Linear* l) {
    using L = fb::Linear;
    if (!l) return;
    if (owner) refer(owner, field, kLinear);
    tensor(l, L::VT_WEIGHT, l->weight()), tensor(l, L::VT_BIAS, l->bias());
  }
  void norm(const void* owner, int field, const fb::Norm* n) {
    using N = fb::Norm;
    if (!n) return;
    refer(owner, field, kNorm);
    add(&floats, n, {N::VT_EPS});
    add(&bytes, n, {N::VT_KIND});
    tensor(n, N::VT_GAMMA, n->gamma()), tensor(n, N::VT_BETA, n->beta());
  }

  template <typename M>
  void long_short(const M& m) {  // what all three kinds have
    add(&numbers, &m, {M::VT_HEADS, M::VT_WINDOW, M::VT_RANK});
    linear(&m, M::VT_QKV, m.qkv()), linear(&m, M::VT_OUT, m.out());
    norm(&m, M::VT_NORM_WINDOW, m.norm_window()), norm(&m, M::VT_NORM_SUMMARY, m.norm_summary());
  }
  void mixer(const fb::Block& b) {
    if (const auto* m = b.mixer_as_CausalLongShort()) {
      using M = fb::CausalLongShort;
      long_short(*m);
      add(&numbers, m, {M::VT_CHUNK, M::VT_POSITION_CLAMP, M::VT_CHUNK_POSITION_CLAMP});
      tensor(m, M::VT_CONTENT_BIAS, m->content_bias()), tensor(m, M::VT_POSITION_BIAS, m->position_bias());
      tensor(m, M::VT_WINDOW_POSITIONS, m->window_positions());
      tensor(m, M::VT_CHUNK_POSITIONS, m->chunk_positions());
      linear(m, M::VT_CHUNK_POSITION_PROJECTION, m->chunk_position_projection());
    } else if (const auto* e = b.mixer_as_EncoderLongShort()) {
      long_short(*e);
      tensor(e, fb::EncoderLongShort::VT_CONVOLUTION, e->convolution());
    } else if (const auto* v = b.mixer_as_VisionLongShort()) {
      long_short(*v);
      tensor(v, fb::VisionLongShort::VT_RELATIVE_BIAS, v->relative_bias());
    } else if (const auto* s = b.mixer_as_SelectiveScan()) {
      using M = fb::SelectiveScan;
      linear(s, M::VT_IN, s->in()), linear(s, M::VT_PARAMETERS, s->parameters());
      linear(s, M::VT_STEP, s->step()), linear(s, M::VT_OUT, s->out());
      tensor(s, M::VT_CONVOLUTION, s->convolution());
      tensor(s, M::VT_CONVOLUTION_BIAS, s->convolution_bias());
      tensor(s, M::VT_A, s->a()), tensor(s, M::VT_D, s->d());
      add(&floats, s, {M::VT_PARAMETER_EPS});
    } else if (const auto* t = b.mixer_as_StateSpaceDual()) {
      using M = fb::StateSpaceDual;
      add(&numbers, t, {M::VT_HEADS, M::VT_GROUPS});
      linear(t, M::VT_IN, t->in()), linear(t, M::VT_OUT, t->out());
      tensor(t, M::VT_CONVOLUTION, t->convolution());
      tensor(t, M::VT_CONVOLUTION_BIAS, t->convolution_bias());
      tensor(t, M::VT_STEP_BIAS, t->step_bias()), tensor(t, M::VT_A, t->a()), tensor(t, M::VT_D, t->d());
      norm(t, M::VT_NORM, t->norm());
      add(&floats, t, {M::VT_STEP_MIN, M::VT_STEP_MAX});
    } else if (const auto* w = b.mixer_as_VisionWindow()) {
      using M = fb::VisionWindow;
      add(&numbers, w, {M::VT_HEADS, M::VT_WINDOW, M::VT_MARGIN});
      add(&bytes, w, {M::VT_EDGE});
      linear(w, M::VT_QKV, w->qkv()), linear(w, M::VT_OUT, w->out());
      linear(w, M::VT_GLOBAL_QKV, w->global_qkv()), linear(w, M::VT_GLOBAL_OUT, w->global_out());
      tensor(w, M::VT_RELATIVE_BIAS, w->relative_bias());
      tensor(w, M::VT_GLOBAL_BIAS, w->global_bias());
      tensor(w, M::VT_GLOBAL_GLOBAL_BIAS, w->global_global_bias());
    } else if (const auto* g = b.mixer_as_GlobalFilter()) {
      tensor(g, fb::GlobalFilter::VT_KERNEL, g->kernel());
    } else if (const auto* l = b.mixer_as_DilatedAttention()) {
      using M = fb::DilatedAttention;
      add(&numbers, l, {M::VT_HEADS});
      for (const auto* list : {l->segments(), l->ratios()}) {
        length(list);
        for (size_t i = 0; i < list->size(); ++i) numbers.push_back(place(list->data() + i));
      }
      linear(l, M::VT_QKV, l->qkv()), linear(l, M::VT_OUT, l->out());
    } else if (const auto* f = b.mixer_as_FullAttention()) {
      using M = fb::FullAttention;
      add(&numbers, f, {M::VT_HEADS});
      linear(f, M::VT_QKV, f->qkv()), linear(f, M::VT_OUT, f->out());
      norm(f, M::VT_NORM_KEYS, f->norm_keys());
      tensor(f, M::VT_RELATIVE_BIAS, f->relative_bias()), tensor(f, M::VT_CLS_BIAS, f->cls_bias());
    }
  }
  void block(const fb::Block& b) {
    using B = fb::Block;
    using F = fb::FeedForward;
    add(&bytes, &b, {B::VT_RESIDUAL, B::VT_MIXER_TYPE});
    refer(&b, B::VT_MIXER, kOther), refer(&b, B::VT_FEED_FORWARD, kOther + 1);
    norm(&b, B::VT_NORM1, b.norm1()), norm(&b, B::VT_NORM2, b.norm2());
    norm(&b, B::VT_NORM_MIXED, b.norm_mixed());
    mixer(b);
    if (const F* f = b.feed_forward()) {
      add(&bytes, f, {F::VT_ACTIVATION});
      linear(f, F::VT_FC1, f->fc1()), linear(f, F::VT_FC2, f->fc2());
      norm(f, F::VT_NORM, f->norm());
    }
  }
  void stage(const fb::Stage& s) {
    using S = fb::Stage;
    add(&bytes, &s, {S::VT_STEM_TYPE});
    refer(&s, S::VT_STEM, kOther + 2), refer(&s, S::VT_BLOCKS, kOther + 3);
    if (const auto* t = s.stem_as_TokenStem()) {
      using T = fb::TokenStem;
      add(&floats, t, {T::VT_SCALE});
      tensor(t, T::VT_EMBEDDING, t->embedding()), tensor(t, T::VT_POSITIONS, t->positions());
    } else if (const auto* p = s.stem_as_PatchStem()) {
      using P = fb::PatchStem;
      add(&numbers, p, {P::VT_PATCH, P::VT_GRID, P::VT_CHANNELS});
      linear(p, P::VT_PROJECTION, p->projection()), norm(p, P::VT_NORM, p->norm());
      tensor(p, P::VT_CLS_TOKENS, p->cls_tokens()), tensor(p, P::VT_POSITIONS, p->positions());
    } else if (const auto* l = s.stem_as_TileStem()) {
      using L = fb::TileStem;
      add(&numbers, l, {L::VT_TILE});
      linear(l, L::VT_PROJECTION, l->projection());
      tensor(l, L::VT_CLS_TOKEN, l->cls_token()), tensor(l, L::VT_POSITIONS, l->positions());
    }
    elements(s.blocks(), kOther + 4);
    for (const fb::Block* b : *s.blocks()) block(*b);
  }
  void model(const fb::Model& m) {
    using M = fb::Model;
    add(&numbers, &m, {M::VT_FORMAT, M::VT_WIDTH});
    add(&bytes, &m, {M::VT_HEAD_TYPE});
    elements(m.stages(), kOther + 5);
    for (const fb::Stage* s : *m.stages()) stage(*s);
    if (const auto* t = m.head_as_TokenHead()) {
      using T = fb::TokenHead;
      norm(t, T::VT_NORM, t->norm()), linear(t, T::VT_PROJECTION, t->projection());
    } else if (const auto* c = m.head_as_ClassifierHead()) {
      using C = fb::ClassifierHead;
      add(&bytes, c, {C::VT_POOL, C::VT_PAIR});
      norm(c, C::VT_NORM, c->norm());
      elements(c->layers(), kLinear);
      for (const fb::Linear* l : *c->layers()) linear(nullptr, 0, l);
    } else if (const auto* e = m.head_as_EmbeddingHead()) {
      using E = fb::EmbeddingHead;
      add(&bytes, e, {E::VT_POOL});
      norm(e, E::VT_NORM, e->norm()), norm(e, E::VT_OUTPUT_NORM, e->output_norm());
    }
    if (const auto* s = m.stream()) add(&numbers, s, {fb::Stream::VT_BLOCK, fb::Stream::VT_MEMORY});
    if (const auto* s = m.sequence()) {
      using S = fb::SequenceInput;
      add(&numbers, s, {S::VT_MAX_LENGTH, S::VT_BYTE_OFFSET, S::VT_CLS_FROM_BLOCK});
      tensor(s, S::VT_CLS_TOKEN, s->cls_token());
    }
    if (const auto* i = m.image()) {
      add(&numbers, i, {fb::ImageInput::VT_SIZE, fb::ImageInput::VT_RESIZE});
    }
    if (const auto* v = m.vocabulary()) {
      length(v->tokens());
      if (const auto* pairs = v->byte_pairs()) byte_pairs(*pairs);
    }
    if (const auto* g = m.golden()) {
      elements(g->inputs(), kTensor), elements(g->outputs(), kTensor);
    }
  }

  void byte_pairs(const fb::BytePairs& pairs) {
    add(&bytes, &pairs, {fb::BytePairs::VT_NFC});
    if (const auto* merges = pairs.merges()) {
      length(merges);
      for (size_t i = 0; i < merges->size(); ++i) numbers.push_back(place(merges->data() + i));
    }
    if (!pairs.added()) return;
    length(pairs.added());
    for (const fb::AddedToken* added : *pairs.added()) {
      add(&numbers, added, {fb::AddedToken::VT_ID});
      add(&bytes, added, {fb::AddedToken::VT_NORMALIZED, fb::AddedToken::VT_SPECIAL});
    }
  }

  const uint8_t* base_;
};

// One to four changes of the file, most of them in the header. `sites` are of the undamaged file.
class Damage {
 public:
  Damage(const HeaderSites& sites, Random& random, ModelBytes* file)
      : sites_(sites), random_(random), file_(*file) {}

  void apply() {
    for (uint32_t n = random_.pick({1, 1, 1, 2, 2, 3, 4}); n > 0; --n) {
      switch (random_.in(0, 10)) {
        case 0:
        case 1:
          change_number();
          break;
        case 2:
        case 3:
          change_equal_numbers();
          break;
        case 4:
          change_span();
          break;
        case 5:
        case 6:
          redirect();
          break;
        case 7:
          if (!sites_.bytes.empty()) file_[pick(sites_.bytes)] = static_cast<uint8_t>(random_.in(0, 5));
          break;
        case 8:
          if (!sites_.floats.empty()) write(pick(sites_.floats), any_float());
          break;
        case 9:
          change_weight();
          break;
        default:
          change_any_byte();
      }
    }
    if (random_.chance(1)) file_.resize(random_.in(0, file_.size()));
  }

 private:
  template <typename T>
  const T& pick(const std::vector<T>& list) {
    return list[random_.in(0, list.size() - 1)];
  }
  template <typename T>
  T read(size_t at) const {
    T value;
    std::memcpy(&value, &file_[at], sizeof value);
    return value;
  }
  template <typename T>
  void write(size_t at, T value) {
    std::memcpy(&file_[at], &value, sizeof value);
  }

  // Near what stands there, near a limit, another number of the file, or anything.
  uint32_t any_number(uint32_t old) {
    switch (random_.in(0, 5)) {
      case 0:
        return old + random_.pick({1u, 2u, ~0u, ~1u});
      case 1:
        return random_.pick({old * 2, old / 2, old * 3, old * 4, old / 3});
      case 2:
        return random_.in(0, 20);
      case 3:
        return (1u << random_.in(0, 31)) + random_.in(0, 2) - 1;
      case 4:
        return read<uint32_t>(pick(sites_.numbers));
      default:
        return static_cast<uint32_t>(random_.next());
    }
  }
  float any_float() {
    return random_.pick({0.0f, -0.0f, 1.0f, -1.0f, 1e-38f, 1e-45f, 3e38f, -3e38f, 1e30f, -1e30f, 1e4f,
                         std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()});
  }

  void change_number() {
    const size_t at = pick(sites_.numbers);
    write(at, any_number(read<uint32_t>(at)));
  }
  // Where the same number stands in several places they often mean the same: some or all of them change
  // alike.
  void change_equal_numbers() {
    const auto old = read<uint32_t>(pick(sites_.numbers)), now = any_number(old);
    const uint32_t percent = random_.pick({20u, 60u, 100u});
    for (size_t at : sites_.numbers) {
      if (read<uint32_t>(at) == old && random_.chance(percent)) write(at, now);
    }
  }
  // Another array's place, whole or in part; or beside its own place.
  void change_span() {
    const size_t at = pick(sites_.spans), other = pick(sites_.spans);
    const auto offset = read<uint64_t>(at), size = read<uint64_t>(at + 8);
    switch (random_.in(0, 4)) {
      case 0:
        write(at, read<uint64_t>(other)), write(at + 8, read<uint64_t>(other + 8));
        break;
      case 1:
        write(at, read<uint64_t>(other));
        break;
      case 2:
        write(at, read<uint64_t>(other)), write(other, offset);
        break;
      case 3:
        write(at, offset + 64 * random_.pick<uint64_t>({1, 2, ~0ull, file_.size() / 64, 1ull << 50}));
        break;
      default:
        write(at + 8, random_.pick<uint64_t>({size + 1, size - 1, 2 * size, 0, ~0ull, size + 64}));
    }
  }
  // Another table of the same kind stands here, too.
  void redirect() {
    const HeaderSites::Reference from = pick(sites_.references);
    for (int attempt = 0; attempt < 20; ++attempt) {
      const HeaderSites::Reference to = pick(sites_.references);
      if (to.kind != from.kind || to.target <= from.at || to.target == from.target) continue;
      return write(from.at, static_cast<uint32_t>(to.target - from.at));
    }
  }
  void change_weight() {
    if (sites_.header_bytes + 4 > file_.size()) return;
    const size_t at = random_.in(sites_.header_bytes, file_.size() - 4) / 4 * 4;
    random_.chance(50) ? write(at, any_float()) : write(at, static_cast<uint32_t>(random_.next()));
  }
  void change_any_byte() {
    const size_t at = random_.in(0, sites_.header_bytes - 4);
    if (random_.chance(50)) {
      file_[at] = random_.pick<uint8_t>(
          {0, 1, 0x7f, 0x80, 0xff, static_cast<uint8_t>(file_[at] + 1), static_cast<uint8_t>(file_[at] - 1)});
    } else {
      write(at / 4 * 4, any_number(read<uint32_t>(at / 4 * 4)));
    }
  }

  const HeaderSites& sites_;
  Random& random_;
  ModelBytes& file_;
};

}  // namespace lsrt_test
