// Stages, stems and blocks of a model file; mixers read themselves.
#include "runtime/model/reader.h"

namespace lsrt {
namespace {

constexpr std::initializer_list<DataType> kWeightTypes = {DataType::kFloat32, DataType::kInt8};

}  // namespace

Status ModelReader::stages(const fb::Model& source) {
  LSRT_TRY(range("stages", source.stages()->size(), 1, is(Family::kVil) ? kMaxStages : 1));
  Rows previous;
  uint32_t blocks = 0;
  for (uint32_t i = 0; i < source.stages()->size(); i++) {
    const fb::Stage& stage = *source.stages()->Get(i);
    where_ = "stage " + std::to_string(i) + ", ";
    Stage out;
    Rows rows;
    LSRT_TRY(stem(stage, i, previous, &out, &rows));
    if (i == 0 && source.width() != rows.width) {
      return wrong("width", "the model says %u, its stem %u", source.width(), rows.width);
    }
    out.width = rows.width;
    LSRT_TRY(range("blocks", stage.blocks()->size(), 1, kMaxBlocks - blocks));
    blocks += stage.blocks()->size();
    for (uint32_t b = 0; b < stage.blocks()->size(); b++) {
      where_ = "stage " + std::to_string(i) + ", block " + std::to_string(b) + ", ";
      LSRT_TRY(block(*stage.blocks()->Get(b), rows, &out.blocks.emplace_back()));
    }
    model_->stages.push_back(std::move(out));
    previous = rows;
    where_.clear();
  }
  last_rows_ = previous;
  return {};
}

Status ModelReader::stem(const fb::Stage& source, size_t index, const Rows& previous, Stage* stage,
                         Rows* rows) {
  if (is(Family::kVil) && source.stem_type() == fb::Stem::PatchStem) {
    return patch_stem(*source.stem_as_PatchStem(), index, previous, &stage->stem.emplace<PatchStem>(), rows);
  }
  if (is(Family::kSlide) && source.stem_type() == fb::Stem::TileStem) {
    return tile_stem(*source.stem_as_TileStem(), &stage->stem.emplace<TileStem>(), rows);
  }
  const bool is_text = is(Family::kLm) || is(Family::kEncoder);
  if (is_text && source.stem_type() == fb::Stem::TokenStem) {
    return token_stem(*source.stem_as_TokenStem(), &stage->stem.emplace<TokenStem>(), rows);
  }
  return wrong("stem", "kind %u does not fit the family %s", static_cast<unsigned>(source.stem_type()),
               family_name(model_->family));
}

Status ModelReader::token_stem(const fb::TokenStem& source, TokenStem* stem, Rows* rows) {
  LSRT_TRY(tensor("embedding", source.embedding(), {0, 0}, kWeightTypes, &stem->embedding));
  LSRT_TRY(range("embedding rows", stem->embedding.shape[0], 1, kMaxVocabulary));
  rows->width = stem->embedding.shape[1];
  LSRT_TRY(range("width", rows->width, 1, kMaxWidth));
  stem->scale = source.scale();
  if (!(stem->scale > 0 && stem->scale < 1e6f)) {
    return wrong("scale", "%g", static_cast<double>(stem->scale));
  }
  if (source.positions() == nullptr) return {};
  LSRT_TRY(tensor("positions", source.positions(), {0, rows->width}, {DataType::kFloat32}, &stem->positions));
  return range("positions rows", stem->positions.shape[0], 1, kMaxStreamTokens);
}

Status ModelReader::patch_stem(const fb::PatchStem& source, size_t index, const Rows& previous,
                               PatchStem* stem, Rows* rows) {
  stem->patch = source.patch();
  stem->grid = source.grid();
  stem->channels = source.channels();
  LSRT_TRY(range("patch", stem->patch, 1, kMaxPatch));
  LSRT_TRY(range("grid", stem->grid, 1, kMaxImageSize));
  const uint32_t channels = index == 0 ? 3 : previous.width;
  if (stem->channels != channels) {
    return wrong("channels", "%u, expected %u", stem->channels, channels);
  }
  if (index > 0 && uint64_t{stem->grid} * stem->patch != previous.grid) {
    return wrong("grid", "%u patches of %u do not cover the %u of the stage before", stem->grid, stem->patch,
                 previous.grid);
  }
  LSRT_TRY(linear("projection", source.projection(), 0, uint64_t{channels} * stem->patch * stem->patch,
                  &stem->projection));
  rows->width = static_cast<uint32_t>(stem->projection.outputs);
  LSRT_TRY(range("width", rows->width, 1, kMaxWidth));
  LSRT_TRY(norm("norm", source.norm(), rows->width, &stem->norm));
  if (source.cls_tokens() != nullptr) {
    TensorView cls_tokens;
    LSRT_TRY(tensor("cls_tokens", source.cls_tokens(), {0, rows->width}, {DataType::kFloat32}, &cls_tokens));
    stem->cls_tokens = cls_tokens.floats();
    stem->cls_count = cls_tokens.shape[0];
    LSRT_TRY(range("cls_tokens rows", stem->cls_count, 1, kMaxClsRows));
  }
  rows->grid = stem->grid;
  rows->cls_count = stem->cls_count;
  const uint64_t count = stem->cls_count + uint64_t{stem->grid} * stem->grid;
  return floats("positions", source.positions(), {count, rows->width}, &stem->positions);
}

Status ModelReader::tile_stem(const fb::TileStem& source, TileStem* stem, Rows* rows) {
  stem->tile = source.tile();
  LSRT_TRY(range("tile", stem->tile, 1, kMaxTilePixels));
  LSRT_TRY(linear("projection", source.projection(), 0, 0, &stem->projection));
  rows->width = static_cast<uint32_t>(stem->projection.outputs);
  LSRT_TRY(range("width", stem->projection.outputs, 1, kMaxWidth));
  if (rows->width % 2 != 0) return wrong("width", "%u is odd: a place has two halves", rows->width);
  LSRT_TRY(floats("cls_token", source.cls_token(), {rows->width}, &stem->cls_token));
  LSRT_TRY(
      tensor("positions", source.positions(), {0, rows->width / 2}, {DataType::kFloat32}, &stem->positions));
  stem->cells = stem->positions.shape[0];
  return range("positions rows", stem->cells, 1, kMaxCells);
}

Status ModelReader::block(const fb::Block& source, const Rows& rows, Block* block) {
  LSRT_TRY(norm("norm1", source.norm1(), rows.width, &block->norm1));
  LSRT_TRY(range("residual", static_cast<uint64_t>(source.residual()), 0,
                 static_cast<uint64_t>(Residual::kSingle)));
  block->residual = static_cast<Residual>(source.residual());
  LSRT_TRY(mixer(source, rows, &block->mixer));
  const bool single = std::holds_alternative<GlobalFilter>(block->mixer);
  if (single != (block->residual == Residual::kSingle)) {
    return wrong("residual", "kind %u, but %s", static_cast<unsigned>(source.residual()),
                 single ? "blocks of a GlobalFilter have single" : "only blocks of a GlobalFilter have it");
  }
  if (!is(Family::kLm) && !single && block->residual != Residual::kPreNorm) {
    return wrong("residual", "kind %u, but models of family %s have pre_norm only",
                 static_cast<unsigned>(source.residual()), family_name(model_->family));
  }
  if ((source.feed_forward() == nullptr) != (source.norm2() == nullptr)) {
    return wrong("feed_forward, norm2", "one of them is missing");
  }
  if (source.feed_forward() == nullptr) {
    if (format_ < 2) return wrong("feed_forward", "is missing, which format 1 does not allow");
    return is(Family::kLm) ? Status() : wrong("feed_forward", "is missing, which only language models may");
  }
  LSRT_TRY(norm("norm2", source.norm2(), rows.width, &block->norm2));
  const fb::FeedForward& feed_forward = *source.feed_forward();
  LSRT_TRY(linear("fc1", feed_forward.fc1(), 0, rows.width, &block->feed_forward.fc1));
  LSRT_TRY(range("fc1 outputs", block->feed_forward.fc1.outputs, 1, kMaxWidth));
  LSRT_TRY(linear("fc2", feed_forward.fc2(), rows.width, block->feed_forward.fc1.outputs,
                  &block->feed_forward.fc2));
  LSRT_TRY(range("activation", static_cast<uint64_t>(feed_forward.activation()), 0,
                 static_cast<uint64_t>(Activation::kGelu)));
  block->feed_forward.activation = static_cast<Activation>(feed_forward.activation());
  return inner_norms(source, rows, block);
}

Status ModelReader::inner_norms(const fb::Block& source, const Rows& rows, Block* block) {
  const fb::Norm *mixed = source.norm_mixed(), *hidden = source.feed_forward()->norm();
  if ((mixed || hidden) && !std::holds_alternative<DilatedAttention>(block->mixer)) {
    return wrong("norm_mixed, feed_forward norm", "only blocks of a DilatedAttention have them");
  }
  LSRT_TRY(norm("norm_mixed", mixed, rows.width, &block->norm_mixed));
  return norm("feed_forward norm", hidden, block->feed_forward.fc1.outputs, &block->feed_forward.norm);
}

Status ModelReader::mixer(const fb::Block& source, const Rows& rows, Mixer* out) {
  switch (source.mixer_type()) {
#define LSRT_MIXER(Kind)                    \
  case fb::Mixer::Kind:                     \
    if (!Kind::fits(model_->family)) break; \
    return mixer(*source.mixer_as_##Kind(), rows, &out->emplace<Kind>());
#include "runtime/model/mixers.inc"
#undef LSRT_MIXER
    default:
      break;
  }
  return wrong("mixer", "kind %u does not fit the family %s", static_cast<unsigned>(source.mixer_type()),
               family_name(model_->family));
}

Status ModelReader::head_dim(uint32_t heads, uint32_t rank, const Rows& rows, uint32_t* head_dim) const {
  LSRT_TRY(range("heads", heads, 1, rows.width));
  if (rows.width % heads != 0) return wrong("heads", "%u do not divide the width %u", heads, rows.width);
  LSRT_TRY(range("heads * rank", uint64_t{heads} * rank, 0, kMaxWidth));
  *head_dim = rows.width / heads;
  return range("width of a head", *head_dim, 1, kMaxHeadDim);
}

}  // namespace lsrt
