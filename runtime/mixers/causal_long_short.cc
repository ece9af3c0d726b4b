// Causal long-short attention over a stream of fixed-size state: its place in a model file.
#include "runtime/model/reader.h"

namespace lsrt {

Status ModelReader::mixer(const fb::CausalLongShort& source, const Rows& rows, CausalLongShort* mixer) {
  mixer->heads = source.heads();
  mixer->window = source.window();
  mixer->chunk = source.chunk();
  mixer->rank = source.rank();
  mixer->position_clamp = source.position_clamp();
  mixer->chunk_position_clamp = source.chunk_position_clamp();
  LSRT_TRY(head_dim(mixer->heads, mixer->rank, rows, &mixer->head_dim));
  LSRT_TRY(range("window", mixer->window, mixer->rank == 0 ? 1 : 0, kMaxWindow));
  if (model_->block == 0) return wrong("stream", "is missing");
  // Without summaries a chunk is only the unit of block and memory.
  LSRT_TRY(range("chunk", mixer->chunk, 1, mixer->rank > 0 ? kMaxChunk : kMaxStreamTokens));
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
                    {mixer->heads, mixer->window, mixer->head_dim}, {mixer->qkv.weight.type},
                    &mixer->window_positions));
  }
  if (mixer->rank == 0) return {};
  if (mixer->window == 0 && model_->memory == 0) return wrong("window", "none, and no memory either");
  if (d % 2 != 0) return wrong("width", "%u is odd, which relative positions cannot be", rows.width);
  if (source.norm_summary() == nullptr) return wrong("norm_summary", "is missing");
  LSRT_TRY(norm("norm_summary", source.norm_summary(), d, &mixer->norm_summary));
  const uint64_t n = (uint64_t{model_->memory} + model_->block) / mixer->chunk * mixer->rank;
  LSRT_TRY(tensor("chunk_positions", source.chunk_positions(), {mixer->heads, n, mixer->head_dim},
                  {mixer->qkv.weight.type}, &mixer->chunk_positions));
  return linear("chunk_position_projection", source.chunk_position_projection(), d, d,
                &mixer->chunk_position_projection);
}

}  // namespace lsrt
