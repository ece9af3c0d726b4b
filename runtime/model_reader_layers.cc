// Stems, blocks and mixers of a model file.
#include "runtime/model_reader.h"

namespace lsrt {
namespace {

constexpr std::initializer_list<DataType> kWeightTypes = {DataType::kFloat32, DataType::kInt8};

}  // namespace

Status ModelReader::stages(const fb::Model& source) {
  LSRT_TRY(range("stages", source.stages()->size(), 1, is("vil") ? kMaxStages : 1));
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
  if (is("vil") && source.stem_type() == fb::Stem::PatchStem) {
    return patch_stem(*source.stem_as_PatchStem(), index, previous, &stage->stem.emplace<PatchStem>(), rows);
  }
  if (!is("vil") && source.stem_type() == fb::Stem::TokenStem) {
    return token_stem(*source.stem_as_TokenStem(), &stage->stem.emplace<TokenStem>(), rows);
  }
  return wrong("stem", "kind %u does not fit the family %s", static_cast<unsigned>(source.stem_type()),
               model_->family.c_str());
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
  LSRT_TRY(range("patch", stem->patch, 1, 256));
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
    LSRT_TRY(floats("cls_tokens", source.cls_tokens(), {1, rows->width}, &stem->cls_tokens));
    stem->cls_count = 1;
  }
  rows->grid = stem->grid;
  rows->cls_count = stem->cls_count;
  const uint64_t count = stem->cls_count + uint64_t{stem->grid} * stem->grid;
  return floats("positions", source.positions(), {count, rows->width}, &stem->positions);
}

Status ModelReader::block(const fb::Block& source, const Rows& rows, Block* block) {
  const fb::FeedForward& feed_forward = *source.feed_forward();
  LSRT_TRY(norm("norm1", source.norm1(), rows.width, &block->norm1));
  LSRT_TRY(norm("norm2", source.norm2(), rows.width, &block->norm2));
  LSRT_TRY(range("residual", static_cast<uint64_t>(source.residual()), 0,
                 static_cast<uint64_t>(Residual::kPostNorm)));
  block->residual = static_cast<Residual>(source.residual());
  LSRT_TRY(mixer(source, rows, &block->mixer));
  LSRT_TRY(linear("fc1", feed_forward.fc1(), 0, rows.width, &block->feed_forward.fc1));
  LSRT_TRY(range("fc1 outputs", block->feed_forward.fc1.outputs, 1, kMaxWidth));
  LSRT_TRY(linear("fc2", feed_forward.fc2(), rows.width, block->feed_forward.fc1.outputs,
                  &block->feed_forward.fc2));
  LSRT_TRY(range("activation", static_cast<uint64_t>(feed_forward.activation()), 0,
                 static_cast<uint64_t>(Activation::kGelu)));
  block->feed_forward.activation = static_cast<Activation>(feed_forward.activation());
  return {};
}

Status ModelReader::mixer(const fb::Block& source, const Rows& rows, Mixer* out) {
  const fb::Mixer type = source.mixer_type();
  if (is("lm") && type == fb::Mixer::CausalLongShort) {
    return causal(*source.mixer_as_CausalLongShort(), rows, &out->emplace<CausalLongShort>());
  }
  if (is("encoder") && type == fb::Mixer::EncoderLongShort) {
    return encoder(*source.mixer_as_EncoderLongShort(), rows, &out->emplace<EncoderLongShort>());
  }
  if (is("vil") && type == fb::Mixer::VisionLongShort) {
    return vision(*source.mixer_as_VisionLongShort(), rows, &out->emplace<VisionLongShort>());
  }
  if (!is("lm") && type == fb::Mixer::FullAttention) {
    return full(*source.mixer_as_FullAttention(), rows, &out->emplace<FullAttention>());
  }
  return wrong("mixer", "kind %u does not fit the family %s", static_cast<unsigned>(type),
               model_->family.c_str());
}

Status ModelReader::head_dim(uint32_t heads, uint32_t rank, const Rows& rows, uint32_t* head_dim) const {
  LSRT_TRY(range("heads", heads, 1, rows.width));
  if (rows.width % heads != 0) return wrong("heads", "%u do not divide the width %u", heads, rows.width);
  LSRT_TRY(range("heads * rank", uint64_t{heads} * rank, 0, kMaxWidth));
  *head_dim = rows.width / heads;
  return range("width of a head", *head_dim, 1, kMaxHeadDim);
}

Status ModelReader::causal(const fb::CausalLongShort& source, const Rows& rows, CausalLongShort* mixer) {
  mixer->heads = source.heads();
  mixer->window = source.window();
  mixer->chunk = source.chunk();
  mixer->rank = source.rank();
  mixer->position_clamp = source.position_clamp();
  mixer->chunk_position_clamp = source.chunk_position_clamp();
  LSRT_TRY(head_dim(mixer->heads, mixer->rank, rows, &mixer->head_dim));
  LSRT_TRY(range("window", mixer->window, mixer->rank == 0 ? 1 : 0, kMaxWindow));
  LSRT_TRY(range("chunk", mixer->chunk, 1, kMaxWindow));
  if (model_->memory < mixer->window) {
    return wrong("window", "%u, longer than the memory of %u tokens", mixer->window, model_->memory);
  }
  if (model_->memory % mixer->chunk != 0 || model_->block % mixer->chunk != 0) {
    return wrong("chunk", "%u does not divide the memory %u and the block %u", mixer->chunk, model_->memory,
                 model_->block);
  }
  const uint64_t d = rows.width;
  LSRT_TRY(linear("qkv", source.qkv(), 3 * d + uint64_t{mixer->heads} * mixer->rank, d, &mixer->qkv));
  LSRT_TRY(linear("out", source.out(), d, d, &mixer->out));
  LSRT_TRY(
      floats("content_bias", source.content_bias(), {mixer->heads, mixer->head_dim}, &mixer->content_bias));
  LSRT_TRY(floats("position_bias", source.position_bias(), {mixer->heads, mixer->head_dim},
                  &mixer->position_bias));
  LSRT_TRY(norm("norm_window", source.norm_window(), d, &mixer->norm_window));
  if (mixer->window > 0) {
    LSRT_TRY(tensor("window_positions", source.window_positions(),
                    {mixer->heads, mixer->window, mixer->head_dim}, kWeightTypes, &mixer->window_positions));
  }
  if (mixer->rank == 0) return {};
  if (mixer->window == 0 && model_->memory == 0) return wrong("window", "none, and no memory either");
  if (d % 2 != 0) return wrong("width", "%u is odd, which relative positions cannot be", rows.width);
  if (source.norm_summary() == nullptr) return wrong("norm_summary", "is missing");
  LSRT_TRY(norm("norm_summary", source.norm_summary(), d, &mixer->norm_summary));
  const uint64_t n = (uint64_t{model_->memory} + model_->block) / mixer->chunk * mixer->rank;
  LSRT_TRY(tensor("chunk_positions", source.chunk_positions(), {mixer->heads, n, mixer->head_dim},
                  kWeightTypes, &mixer->chunk_positions));
  return linear("chunk_position_projection", source.chunk_position_projection(), d, d,
                &mixer->chunk_position_projection);
}

Status ModelReader::encoder(const fb::EncoderLongShort& source, const Rows& rows, EncoderLongShort* mixer) {
  mixer->heads = source.heads();
  mixer->window = source.window();
  mixer->rank = source.rank();
  LSRT_TRY(head_dim(mixer->heads, mixer->rank, rows, &mixer->head_dim));
  LSRT_TRY(range("window", mixer->window, 0, kMaxWindow));
  const uint64_t d = rows.width;
  LSRT_TRY(linear("qkv", source.qkv(), 3 * d + uint64_t{mixer->heads} * mixer->rank, d, &mixer->qkv));
  LSRT_TRY(linear("out", source.out(), d, d, &mixer->out));
  LSRT_TRY(norm("norm_window", source.norm_window(), d, &mixer->norm_window));
  LSRT_TRY(norm("norm_summary", source.norm_summary(), d, &mixer->norm_summary));
  if (source.convolution() == nullptr) return {};
  TensorView convolution;
  LSRT_TRY(
      tensor("convolution", source.convolution(), {mixer->heads, 0}, {DataType::kFloat32}, &convolution));
  LSRT_TRY(range("convolution kernel", convolution.shape[1], 1, kMaxWindow));
  mixer->kernel = convolution.shape[1];
  mixer->convolution = convolution.floats();
  return {};
}

Status ModelReader::vision(const fb::VisionLongShort& source, const Rows& rows, VisionLongShort* mixer) {
  mixer->heads = source.heads();
  mixer->window = source.window();
  mixer->rank = source.rank();
  LSRT_TRY(head_dim(mixer->heads, mixer->rank, rows, &mixer->head_dim));
  LSRT_TRY(range("window", mixer->window, 1, kMaxImageSize));
  const uint64_t d = rows.width;
  LSRT_TRY(linear("qkv", source.qkv(), 3 * d + uint64_t{mixer->heads} * mixer->rank, d, &mixer->qkv));
  LSRT_TRY(linear("out", source.out(), d, d, &mixer->out));
  LSRT_TRY(norm("norm_window", source.norm_window(), d, &mixer->norm_window));
  if (mixer->rank > 0) {
    if (source.norm_summary() == nullptr) return wrong("norm_summary", "is missing");
    LSRT_TRY(norm("norm_summary", source.norm_summary(), d, &mixer->norm_summary));
  }
  const uint64_t reach = mixer->window - 1 + std::max(mixer->window / 2, 1u);
  return floats("relative_bias", source.relative_bias(), {(2 * reach + 1) * (2 * reach + 1), mixer->heads},
                &mixer->relative_bias);
}

Status ModelReader::full(const fb::FullAttention& source, const Rows& rows, FullAttention* mixer) {
  mixer->heads = source.heads();
  LSRT_TRY(head_dim(mixer->heads, 0, rows, &mixer->head_dim));
  const uint64_t d = rows.width;
  LSRT_TRY(linear("qkv", source.qkv(), 3 * d, d, &mixer->qkv));
  LSRT_TRY(linear("out", source.out(), d, d, &mixer->out));
  LSRT_TRY(norm("norm_keys", source.norm_keys(), d, &mixer->norm_keys));
  if (source.relative_bias() != nullptr && rows.grid == 0) {
    return wrong("relative_bias", "needs a grid of patches");
  }
  const uint64_t side = 2 * uint64_t{rows.grid} - 1;
  LSRT_TRY(
      floats("relative_bias", source.relative_bias(), {side * side, mixer->heads}, &mixer->relative_bias));
  if (source.cls_bias() != nullptr && rows.cls_count == 0) return wrong("cls_bias", "needs a cls row");
  return floats("cls_bias", source.cls_bias(), {3, mixer->heads}, &mixer->cls_bias);
}

}  // namespace lsrt
