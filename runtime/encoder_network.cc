#include "runtime/encoder_network.h"

#include <algorithm>
#include <cstring>

namespace lsrt {
namespace {

// f(first row, rows) for tiles of the rows first .. end - 1.
template <typename F>
void for_tiles(size_t first, size_t end, const F& f) {
  for (; first < end; first += EncoderNetwork::kTileRows)
    f(first, std::min(EncoderNetwork::kTileRows, end - first));
}

// f(first position, positions) for runs of positions that have rows.
template <typename F>
void for_runs(const PackedRows& document, const F& f) {
  for (size_t i = 0, end; i < document.positions; i = end + 1) {
    for (end = i; end < document.positions && document.row_at[end] >= 0;) ++end;
    if (end > i) f(i, end - i);
  }
}

}  // namespace

Status EncoderNetwork::run(const int32_t* tokens, const size_t* lengths, size_t count, float* logits) {
  const size_t per_input = documents();
  const int32_t* next = tokens;
  for (size_t i = 0; i < count * per_input; next += lengths[i++]) LSRT_TRY(check({next, lengths[i]}, i));
  for (size_t i = 0; i < count; ++i) {
    Document input[2];
    for (size_t j = 0; j < per_input; ++j, ++lengths) {
      input[j] = {tokens, *lengths};
      tokens += *lengths;
    }
    LSRT_TRY(run(input, logits + i * classes(), nullptr));
  }
  return Status();
}

Status EncoderNetwork::run(const Document* input, float* logits, float* const* encoded) {
  for (size_t j = 0; j < documents(); ++j) LSRT_TRY(check(input[j], j));
  for (size_t j = 0; j < documents(); ++j) {
    LSRT_TRY(encode(input[j], b_.features + j * width(), encoded ? encoded[j] : nullptr));
  }
  const float* features = b_.features;
  if (head().pair) {
    backend_->compare(*stream_, b_.features, width(), b_.pair);
    features = b_.pair;
  }
  head_->run(*stream_, features, 1, b_.head, b_.logits);
  backend_->copy_to_host(*stream_, logits, b_.logits, classes() * sizeof(float));
  return backend_->synchronize(*stream_);
}

Status EncoderNetwork::check(const Document& document, size_t index) const {
  if (document.length == 0 || document.length > max_length()) {
    return fail(Error::kArgument, "document %zu has %zu tokens, must have 1 to %zu", index, document.length,
                max_length());
  }
  const size_t vocabulary = stem().embedding.shape[0];
  bool any = false;
  for (size_t i = 0; i < document.length; ++i) {
    if (document.mask && document.mask[i] == 0) continue;
    any = true;
    if (document.tokens[i] < 0 || static_cast<size_t>(document.tokens[i]) >= vocabulary) {
      return fail(Error::kArgument, "token %zu of document %zu is %d, the vocabulary has ids 0 to %zu", i,
                  index, document.tokens[i], vocabulary - 1);
    }
  }
  if (!any) return fail(Error::kArgument, "document %zu has no token that is not masked", index);
  return Status();
}

// features[width] on the device, encoded rows on the host. Waits, because the next document reuses the host's
// tables.
Status EncoderNetwork::encode(const Document& document, float* features, float* encoded) {
  document_.pack(document.mask, document.length);
  embed(document);
  for (const Layer& layer : layers_) run_layer(layer);

  const size_t rows = lead_ + document_.rows;
  const float divisor = static_cast<float>(head().pool == Pool::kMeanPadded ? max_length() : rows);
  head_->pool(*stream_, width(), b_.x, rows, divisor, features);
  if (encoded && head().pool == Pool::kCls) {
    backend_->copy_to_host(*stream_, encoded, features, width() * sizeof(float));
  } else if (encoded) {
    std::memset(encoded, 0, document.length * width() * sizeof(float));
    for_runs(document_, [&](size_t first, size_t count) {
      backend_->copy_to_host(*stream_, encoded + first * width(),
                             b_.x + (lead_ + document_.row_at[first]) * width(),
                             count * width() * sizeof(float));
    });
  }
  return backend_->synchronize(*stream_);
}

// The index tables and the first layer's input.
void EncoderNetwork::embed(const Document& document) {
  auto copy = [&](int32_t* device, const int32_t* host, size_t count) {
    backend_->copy_to_device(*stream_, device, host, count * sizeof(int32_t));
  };
  copy(b_.row_at, document_.row_at, document_.positions);
  for (Grouping& grouping : groupings_) {
    SequenceGroups& groups = grouping.groups;
    groups.build(document_);
    copy(grouping.query_rows, groups.query_rows, groups.count * groups.queries);
    copy(grouping.key_rows, groups.key_rows, groups.count * groups.group_keys());
  }
  if (lead_) backend_->copy_to_device(*stream_, b_.x, model_->sequence.cls_token, width() * sizeof(float));
  const float* positions = stem().positions ? stem().positions.floats() : nullptr;
  for_runs(document_, [&](size_t first, size_t count) {
    const size_t row = document_.row_at[first];
    copy(b_.tokens + row, document.tokens + first, count);
    backend_->embed(*stream_, stem(), width(), b_.tokens + row, count,
                    positions ? positions + first * width() : nullptr, b_.x + (lead_ + row) * width());
  });
}

void EncoderNetwork::run_layer(const Layer& layer) {
  Backend& device = *backend_;
  Stream& stream = *stream_;
  const Block& block = *layer.block;
  const size_t first = layer.cls ? 0 : lead_, end = lead_ + document_.rows;
  if (layer.mixer) {
    attend_long_short(layer);
  } else {
    attend_full(layer);
  }
  for_tiles(first, end, [&](size_t row, size_t rows) {
    float* x = b_.x + row * width();
    device.linear(stream, *layer.out, b_.attention + row * width(), rows, Activation::kNone, b_.mixed);
    device.add_norm(stream, block.norm2, width(), b_.mixed, rows, x, b_.normed);
    device.linear(stream, *layer.fc1, b_.normed, rows, block.feed_forward.activation, b_.hidden);
    device.linear(stream, *layer.fc2, b_.hidden, rows, Activation::kNone, b_.mixed);
    device.add(stream, b_.mixed, rows * width(), x);
  });
}

// qkv of the rows first .. after their norm, keys and values normed (unless norm_keys is empty) while they
// are in the cache.
void EncoderNetwork::project(const Layer& layer, const NormView& norm_keys, size_t first) {
  const size_t stride = layer.qkv->outputs;
  for_tiles(first, lead_ + document_.rows, [&](size_t row, size_t rows) {
    float* qkv = b_.qkv + row * stride;
    backend_->add_norm(*stream_, layer.block->norm1, width(), nullptr, rows, b_.x + row * width(), b_.normed);
    backend_->linear(*stream_, *layer.qkv, b_.normed, rows, Activation::kNone, qkv);
    if (!norm_keys) return;
    for (float* x : {qkv + width(), qkv + 2 * width()}) {
      backend_->layer_norm(*stream_, norm_keys, width(), x, stride, rows, x, stride);
    }
  });
}

void EncoderNetwork::attend_full(const Layer& layer) {
  const auto& mixer = std::get<FullAttention>(layer.block->mixer);
  const size_t first = layer.cls ? 0 : lead_, stride = layer.qkv->outputs;
  project(layer, mixer.norm_keys, first);
  GroupedAttention a = attention_extents(layer);
  const float* query = b_.qkv + first * stride;
  const float *key = query + width(), *value = key + width();
  a.query = query, a.key = key, a.value = value;
  a.query_rows = a.key_rows = b_.all_rows;
  a.out = b_.attention + first * width();
  backend_->grouped_attention(*stream_, a);
}

void EncoderNetwork::attend_long_short(const Layer& layer) {
  Backend& device = *backend_;
  Stream& stream = *stream_;
  const EncoderLongShort& mixer = *layer.mixer;
  const size_t stride = layer.qkv->outputs;
  project(layer, mixer.norm_window, lead_);
  const float* query = b_.qkv + lead_ * stride;
  const float *key = query + width(), *value = key + width(), *score = value + width();
  float* out = b_.attention + lead_ * width();

  // Global rows: the cls row, which no other norm has seen, then the landmarks.
  const float *cls_key = b_.qkv + width(), *cls_value = cls_key + width();
  float *global_key = b_.global_key, *global_value = b_.global_value;
  if (layer.cls) {
    device.linear(stream, *layer.qkv, b_.x, 1, Activation::kNone, b_.qkv);
    device.layer_norm(stream, mixer.norm_summary, width(), cls_key, stride, 1, global_key, width());
    device.layer_norm(stream, mixer.norm_summary, width(), cls_value, stride, 1, global_value, width());
    global_key += width(), global_value += width();
  }
  if (layer.rank) {
    Landmarks l = landmark_extents(layer);
    l.score = score, l.key = key, l.value = value;
    l.out_key = global_key, l.out_value = global_value;
    device.landmarks(stream, l);
    device.layer_norm(stream, mixer.norm_summary, width(), global_key, width(), l.rank, global_key, width());
    device.layer_norm(stream, mixer.norm_summary, width(), global_value, width(), l.rank, global_value,
                      width());
  }

  GroupedAttention a = attention_extents(layer);
  const Grouping& grouping = groupings_[layer.grouping];
  a.query = query, a.key = key, a.value = value;
  a.global_key = b_.global_key, a.global_value = b_.global_value;
  a.query_rows = grouping.query_rows, a.key_rows = grouping.key_rows;
  a.out = out;
  device.grouped_attention(stream, a);
  if (layer.cls) {
    ClsAttention c = cls_extents(layer);
    c.query = b_.qkv, c.key = cls_key, c.value = cls_value;
    c.x = out, c.out = b_.attention;
    device.cls_attention(stream, c);
  }
  if (mixer.kernel) {
    Convolution c{};
    c.heads = layer.heads, c.head_dim = layer.head_dim, c.kernel = mixer.kernel;
    c.weight = mixer.convolution;
    c.value = value, c.stride = stride;
    c.row_at = b_.row_at, c.positions = document_.positions;
    c.out = out, c.out_stride = width();
    device.convolve(stream, c);
  }
}

}  // namespace lsrt
