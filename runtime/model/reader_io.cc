// Heads, input, output and origin of a model file.
#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/text.h"
#include "runtime/model/reader.h"

namespace lsrt {
namespace {

bool is_joined(std::string_view left, std::string_view right, std::string_view both) {
  return !left.empty() && !right.empty() && both.size() == left.size() + right.size() &&
         both.substr(0, left.size()) == left && both.substr(left.size()) == right;
}

}  // namespace

Status ModelReader::stream(const fb::Model& source) {
  if (!is(Family::kLm)) return {};
  if (source.stream() == nullptr && format_ < 2) return wrong("stream", "is missing");
  if (source.stream() == nullptr) return {};
  model_->block = source.stream()->block();
  model_->memory = source.stream()->memory();
  LSRT_TRY(range("stream block", model_->block, 1, kMaxStreamTokens));
  return range("stream memory", model_->memory, 0, kMaxStreamTokens);
}

Status ModelReader::head(const fb::Model& source) {
  const uint64_t width = last_rows_.width;
  if (is(Family::kLm) && source.head_type() == fb::Head::TokenHead) {
    auto& head = model_->head.emplace<TokenHead>();
    const auto& stem = std::get<TokenStem>(model_->stages[0].stem);
    LSRT_TRY(norm("head norm", source.head_as_TokenHead()->norm(), width, &head.norm));
    return linear("head projection", source.head_as_TokenHead()->projection(), stem.embedding.shape[0], width,
                  &head.projection);
  }
  if (is(Family::kSlide) && source.head_type() == fb::Head::EmbeddingHead) {
    return embedding_head(*source.head_as_EmbeddingHead());
  }
  const bool classifies = is(Family::kEncoder) || is(Family::kVil);
  if (!classifies || source.head_type() != fb::Head::ClassifierHead) {
    return wrong("head", "kind %u does not fit the family %s", static_cast<unsigned>(source.head_type()),
                 family_name(model_->family));
  }
  const fb::ClassifierHead& from = *source.head_as_ClassifierHead();
  auto& head = model_->head.emplace<ClassifierHead>();
  LSRT_TRY(norm("head norm", from.norm(), width, &head.norm));
  LSRT_TRY(range("pool", static_cast<uint64_t>(from.pool()), 0, static_cast<uint64_t>(Pool::kMeanPadded)));
  head.pool = static_cast<Pool>(from.pool());
  head.pair = from.pair();
  const bool has_cls = is(Family::kVil) ? last_rows_.cls_count > 0 : model_->sequence.cls_token != nullptr;
  if (head.pool == Pool::kCls && !has_cls) return wrong("pool", "the cls row, but there is none");
  if (is(Family::kVil) && head.pair) return wrong("pair", "images come one by one");
  if (is(Family::kVil) && head.pool == Pool::kMeanPadded) return wrong("pool", "images have no padding");
  LSRT_TRY(range("head layers", from.layers()->size(), 1, kMaxHeadLayers));
  uint64_t inputs = head.pair ? 4 * width : width;
  for (uint32_t i = 0; i < from.layers()->size(); i++) {
    LinearView& layer = head.layers.emplace_back();
    LSRT_TRY(linear("head layer " + std::to_string(i), from.layers()->Get(i), 0, inputs, &layer));
    LSRT_TRY(range("head outputs", layer.outputs, 1, kMaxClasses));
    inputs = layer.outputs;
  }
  return {};
}

Status ModelReader::embedding_head(const fb::EmbeddingHead& source) {
  auto& head = model_->head.emplace<EmbeddingHead>();
  LSRT_TRY(norm("head norm", source.norm(), last_rows_.width, &head.norm));
  LSRT_TRY(range("pool", static_cast<uint64_t>(source.pool()), 0, static_cast<uint64_t>(Pool::kMean)));
  head.pool = static_cast<Pool>(source.pool());
  return norm("head output_norm", source.output_norm(), last_rows_.width, &head.output_norm);
}

Status ModelReader::vocabulary(const fb::Model& source) {
  if (!is(Family::kLm)) return {};
  if (source.vocabulary() == nullptr) return wrong("vocabulary", "is missing");
  const auto& tokens = *source.vocabulary()->tokens();
  const auto& stem = std::get<TokenStem>(model_->stages[0].stem);
  if (tokens.size() != stem.embedding.shape[0]) {
    return wrong("vocabulary", "%u tokens, but the embedding has %u rows", tokens.size(),
                 stem.embedding.shape[0]);
  }
  model_->vocabulary.reserve(tokens.size());
  uint64_t all_bytes = 0;  // texts may share their place in the file
  for (const fb::Token* token : tokens) {
    const auto* bytes = token->bytes();
    if (bytes != nullptr && bytes->size() > kMaxTokenBytes) {
      return wrong("vocabulary", "a token of %u bytes", bytes->size());
    }
    all_bytes += bytes != nullptr ? bytes->size() : 0;
    LSRT_TRY(range("bytes of all tokens", all_bytes, 0, kMaxHeaderBytes));
    auto& text = model_->vocabulary.emplace_back();
    if (bytes != nullptr) text.assign(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  }
  return byte_pairs(source.vocabulary()->byte_pairs());
}

Status ModelReader::byte_pairs(const fb::BytePairs* source) {
  if (source == nullptr) return {};
  if (format_ < 3) return wrong("byte pairs", "a model of format %u has none", format_);
  const std::vector<std::string>& texts = model_->vocabulary;
  BytePairs& pairs = model_->byte_pairs.emplace();
  pairs.nfc = source->nfc();
  std::vector<bool> is_added(texts.size());
  for (uint32_t i = 0; source->added() != nullptr && i < source->added()->size(); i++) {
    LSRT_TRY(range("added tokens", i + 1, 1, kMaxAddedTokens));
    const fb::AddedToken& added = *source->added()->Get(i);
    if (added.id() >= texts.size() || texts[added.id()].empty() || is_added[added.id()]) {
      return wrong("added tokens", "token %u appears twice or has no text", added.id());
    }
    is_added[added.id()] = true;
    pairs.added.push_back({added.id(), added.normalized(), added.special()});
  }
  std::fill(std::begin(pairs.bytes), std::end(pairs.bytes), -1);
  for (size_t id = 0; id < texts.size(); id++) {
    if (texts[id].size() != 1 || is_added[id]) continue;
    int32_t& byte = pairs.bytes[static_cast<uint8_t>(texts[id][0])];
    if (byte < 0) byte = static_cast<int32_t>(id);
  }
  for (size_t byte = 0; byte < 256; byte++) {
    if (pairs.bytes[byte] < 0 && is_of_utf8(static_cast<uint8_t>(byte)))
      return wrong("byte pairs", "no token stands for the byte 0x%02zX", byte);
  }
  if (source->merges() == nullptr) return {};
  static_assert(sizeof(BytePairs::Merge) == 3 * sizeof(uint32_t));
  if (source->merges()->size() % 3 != 0) return wrong("merges", "%u ids", source->merges()->size());
  pairs.merges = reinterpret_cast<const BytePairs::Merge*>(source->merges()->data());
  pairs.merge_count = source->merges()->size() / 3;
  for (size_t i = 0; i < pairs.merge_count; i++) {
    const BytePairs::Merge& merge = pairs.merges[i];
    const bool are_tokens =
        merge.left < texts.size() && merge.right < texts.size() && merge.joined < texts.size();
    if (are_tokens && is_joined(texts[merge.left], texts[merge.right], texts[merge.joined])) continue;
    return wrong("merges", "%zu does not join two tokens to one of their texts", i);
  }
  return {};
}

Status ModelReader::sequence(const fb::Model& source) {
  if (!is(Family::kEncoder)) return {};
  if (source.sequence() == nullptr) return wrong("sequence", "is missing");
  const fb::SequenceInput& from = *source.sequence();
  SequenceInput& to = model_->sequence;
  to.max_length = from.max_length();
  to.byte_offset = from.byte_offset();
  to.cls_from_block = from.cls_from_block();
  LSRT_TRY(range("sequence max_length", to.max_length, 1, kMaxStreamTokens));
  const auto& stem = std::get<TokenStem>(model_->stages[0].stem);
  if (stem.positions && stem.positions.shape[0] < to.max_length) {
    return wrong("sequence max_length", "%u, but there are %u positions", to.max_length,
                 stem.positions.shape[0]);
  }
  if (to.byte_offset < 0 || to.byte_offset > static_cast<int32_t>(kMaxVocabulary)) {
    return wrong("sequence byte_offset", "%d", to.byte_offset);
  }
  LSRT_TRY(floats("sequence cls_token", from.cls_token(), {last_rows_.width}, &to.cls_token));
  return range("sequence cls_from_block", to.cls_from_block, 0, model_->stages[0].blocks.size() - 1);
}

Status ModelReader::image(const fb::Model& source) {
  if (!is(Family::kVil)) return {};
  if (source.image() == nullptr) return wrong("image", "is missing");
  const fb::ImageInput& from = *source.image();
  ImageInput& to = model_->image;
  to.size = from.size();
  to.resize = from.resize();
  LSRT_TRY(range("image size", to.size, 1, kMaxImageSize));
  LSRT_TRY(range("image resize", to.resize, to.size, 2 * kMaxImageSize));
  const auto& stem = std::get<PatchStem>(model_->stages[0].stem);
  if (uint64_t{stem.grid} * stem.patch != to.size) {
    return wrong("image size", "%u, but the stem takes %u patches of %u", to.size, stem.grid, stem.patch);
  }
  if (from.mean()->size() != 3 || from.std()->size() != 3) {
    return wrong("image mean, std", "%u and %u values, expected 3", from.mean()->size(), from.std()->size());
  }
  for (uint32_t i = 0; i < 3; i++) {
    to.mean[i] = from.mean()->Get(i);
    to.std[i] = from.std()->Get(i);
    if (!std::isfinite(to.mean[i]) || !std::isfinite(to.std[i]) || to.std[i] <= 0) {
      return wrong("image mean, std", "%g, %g", static_cast<double>(to.mean[i]),
                   static_cast<double>(to.std[i]));
    }
  }
  return {};
}

Status ModelReader::labels(const fb::Model& source) {
  if (source.labels() == nullptr || source.labels()->size() == 0) return {};
  const auto* head = std::get_if<ClassifierHead>(&model_->head);
  const size_t classes = head == nullptr ? 0 : head->layers.back().outputs;
  if (source.labels()->size() != classes) {
    return wrong("labels", "%u, but the model has %zu outputs", source.labels()->size(), classes);
  }
  for (const flatbuffers::String* label : *source.labels()) {
    LSRT_TRY(text("labels", label, &model_->labels.emplace_back()));
  }
  return {};
}

Status ModelReader::provenance(const fb::Model& source) {
  const fb::Provenance* from = source.provenance();
  if (from == nullptr) return {};
  Provenance& to = model_->provenance;
  LSRT_TRY(text("source_file", from->source_file(), &to.source_file));
  LSRT_TRY(text("source_sha256", from->source_sha256(), &to.source_sha256));
  LSRT_TRY(text("source_format", from->source_format(), &to.source_format));
  LSRT_TRY(text("converter_version", from->converter_version(), &to.converter_version));
  return text("architecture", from->architecture(), &to.architecture);
}

Status ModelReader::golden(const fb::Model& source) {
  if (source.golden() == nullptr) return {};
  model_->golden.max_difference = source.golden()->max_difference();
  model_->golden.digest = source.golden()->digest();
  if (!(model_->golden.max_difference >= 0))
    return wrong("golden", "max_difference is negative or not a number");
  LSRT_TRY(golden_arrays("golden input", *source.golden()->inputs(), &model_->golden.inputs));
  LSRT_TRY(golden_arrays("golden output", *source.golden()->outputs(), &model_->golden.outputs));
  return golden_shapes();
}

Status ModelReader::golden_arrays(const char* what, const TensorList& source,
                                  std::vector<TensorView>* arrays) {
  LSRT_TRY(range(std::string(what) + "s", source.size(), 1, kMaxGoldenArrays));
  uint64_t elements = 0;
  for (const fb::Tensor* array : source) {
    TensorView& view = arrays->emplace_back();
    const std::initializer_list<DataType> types = {DataType::kFloat32, DataType::kInt32};
    switch (array->shape()->size()) {
      case 2:
        LSRT_TRY(tensor(what, array, {0, 0}, types, &view));
        break;
      case 3:
        LSRT_TRY(tensor(what, array, {0, 0, 0}, types, &view));
        break;
      default:
        LSRT_TRY(tensor(what, array, {0, 0, 0, 0}, types, &view));
    }
    elements += view.elements();
    LSRT_TRY(range(std::string(what) + " elements", elements, 1, kMaxGoldenElements));
  }
  return {};
}

// The names, types and shapes that run_arrays() takes and gives.
Status ModelReader::golden_shapes() const {
  const auto& inputs = model_->golden.inputs;
  const auto& outputs = model_->golden.outputs;
  const auto is_array = [](const TensorView& view, std::string_view name, DataType type, Shape shape) {
    bool same = view.name == name && view.type == type && view.rank == shape.size();
    for (uint32_t i = 0; same && i < view.rank; i++) {
      same = shape.begin()[i] == 0 || shape.begin()[i] == view.shape[i];
    }
    return same;
  };
  const uint64_t batch = inputs[0].shape[0];
  bool fits = outputs.size() == 1;
  if (is(Family::kLm)) {
    const uint64_t vocabulary = model_->vocabulary.size();
    fits = fits && inputs.size() == 1 && is_array(inputs[0], "tokens", DataType::kInt32, {batch, 0}) &&
           is_array(outputs[0], "logprobs", DataType::kFloat32, {batch, 0, vocabulary}) &&
           outputs[0].shape[1] <= inputs[0].shape[1];
    return fits ? Status()
                : wrong("golden", "expected tokens [batch, n] and logprobs [batch, <= n, vocabulary]");
  }
  if (is(Family::kSlide)) {
    const auto& stem = std::get<TileStem>(model_->stages[0].stem);
    const uint64_t tiles = inputs[0].rank > 1 ? inputs[0].shape[1] : 0;
    fits = fits && inputs.size() == 2 &&
           is_array(inputs[0], "tiles", DataType::kFloat32, {batch, tiles, stem.projection.inputs}) &&
           is_array(inputs[1], "coords", DataType::kFloat32, {batch, tiles, 2}) &&
           is_array(outputs[0], "embedding", DataType::kFloat32, {batch, last_rows_.width});
    return fits
               ? Status()
               : wrong("golden",
                       "expected tiles [batch, n, features], coords [batch, n, 2], embedding [batch, width]");
  }
  const auto& head = std::get<ClassifierHead>(model_->head);
  fits = fits && is_array(outputs[0], "logits", DataType::kFloat32, {batch, head.layers.back().outputs});
  if (is(Family::kVil)) {
    const uint64_t size = model_->image.size;
    fits = fits && inputs.size() == 1 &&
           is_array(inputs[0], "image", DataType::kFloat32, {batch, 3, size, size});
    return fits ? Status()
                : wrong("golden", "expected image [batch, 3, size, size] and logits [batch, classes]");
  }
  fits = fits && inputs.size() == (head.pair ? 4u : 2u);
  for (size_t i = 0; fits && i < inputs.size(); i++) {
    const std::string name = std::string(i % 2 == 0 ? "tokens_" : "mask_") + std::to_string(i / 2);
    fits = is_array(inputs[i], name, DataType::kInt32, {batch, inputs[0].shape[1]}) &&
           inputs[i].shape[1] <= model_->sequence.max_length;
  }
  return fits ? Status()
              : wrong("golden", "expected tokens_0, mask_0 [batch, n] (of pairs also _1) and logits");
}

}  // namespace lsrt
