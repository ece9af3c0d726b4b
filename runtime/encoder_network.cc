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
  copy(b_.position_of, document_.position_of, document_.rows);
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
  const size_t first = layer.cls ? 0 : lead_, end = lead_ + document_.rows;
  if (!layer.mixer) {
    project(layer, first);
    attend_all(layer, first);
    feed_forward(layer, first, end);
    return;
  }
  if (layer.cls) project_cls(layer);
  project(layer, lead_);
  store_globals(layer);
  const SequenceGroups& groups = groupings_[layer.grouping].groups;
  if (layer.cls) {  // the cls row looks at what all others found, before anything is added to it
    attend_groups(layer, 0, groups.count);
    attend_cls(layer);
    feed_forward(layer, 0, lead_);
  }
  const size_t tile = std::max<size_t>(1, kTileRows / groups.queries);
  for (size_t group = 0; group < groups.count; group += tile) {
    const size_t count = std::min(tile, groups.count - group);
    if (!layer.cls) attend_groups(layer, group, count);
    const size_t row = groups.first_row(group);
    const size_t row_end = group + count < groups.count ? groups.first_row(group + count) : document_.rows;
    convolve(layer, row, row_end - row);
    feed_forward(layer, lead_ + row, lead_ + row_end);
  }
}

// First pass: queries to `attention`, keys and values, after their norm, to the store and into the landmarks.
void EncoderNetwork::project(const Layer& layer, size_t first) {
  Backend& device = *backend_;
  Stream& stream = *stream_;
  const size_t stride = layer.qkv->outputs, end = lead_ + document_.rows;
  const NormView& norm =
      layer.mixer ? layer.mixer->norm_window : std::get<FullAttention>(layer.block->mixer).norm_keys;
  const KeyValueStore store = store_of(layer);
  float *key = b_.qkv + width(), *value = key + width(), *score = value + width();
  for_tiles(first, end, [&](size_t row, size_t rows) {
    device.add_norm(stream, layer.block->norm1, width(), nullptr, rows, b_.x + row * width(), b_.normed);
    device.linear(stream, *layer.qkv, b_.normed, rows, Activation::kNone, b_.qkv);
    device.copy_rows(stream, width(), b_.qkv, stride, rows, b_.attention + row * width(), width());
    if (norm) {
      device.layer_norm(stream, norm, width(), key, stride, rows, key, stride);
      device.layer_norm(stream, norm, width(), value, stride, rows, value, stride);
    }
    device.store_key_values(stream, store, row - first, rows, key, value, stride);
    if (layer.rank) {
      Landmarks l = landmark_extents(layer, rows);
      l.score = score, l.key = key, l.value = value;
      l.first = row == first;
      l.running = b_.landmark_state;
      l.out_key = b_.global_key + (layer.cls ? width() : 0);
      l.out_value = b_.global_value + (layer.cls ? width() : 0);
      device.landmarks(stream, l);
    }
    if (layer.mixer && layer.mixer->kernel) {
      device.copy_rows(stream, width(), value, stride, rows, b_.value + (row - first) * width(), width());
    }
  });
}

// The cls row, which no other norm has seen. Its key and value come first among the global rows.
void EncoderNetwork::project_cls(const Layer& layer) {
  backend_->linear(*stream_, *layer.qkv, b_.x, 1, Activation::kNone, b_.cls_qkv);
  const float* key_value = b_.cls_qkv + width();
  backend_->copy_rows(*stream_, width(), key_value, width(), 1, b_.global_key, width());
  backend_->copy_rows(*stream_, width(), key_value + width(), width(), 1, b_.global_value, width());
}

void EncoderNetwork::store_globals(const Layer& layer) {
  const size_t globals = layer.rank + (layer.cls ? 1 : 0);
  if (globals == 0) return;
  for (float* x : {b_.global_key, b_.global_value}) {
    backend_->layer_norm(*stream_, layer.mixer->norm_summary, width(), x, width(), globals, x, width());
  }
  backend_->store_key_values(*stream_, store_of(layer), lead_ + max_length(), globals, b_.global_key,
                             b_.global_value, width());
}

void EncoderNetwork::attend_all(const Layer& layer, size_t first) {
  GroupedAttention a = attention_extents(layer);
  a.query = a.out = b_.attention + first * width();
  a.query_rows = a.key_rows = b_.all_rows;
  backend_->grouped_attention(*stream_, a);
}

void EncoderNetwork::attend_groups(const Layer& layer, size_t first_group, size_t groups) {
  const Grouping& grouping = groupings_[layer.grouping];
  GroupedAttention a = attention_extents(layer);
  a.groups = groups;
  a.query_rows = grouping.query_rows + first_group * a.group_queries;
  a.key_rows = grouping.key_rows + first_group * a.group_keys;
  a.query = a.out = b_.attention + lead_ * width();
  backend_->grouped_attention(*stream_, a);
}

void EncoderNetwork::attend_cls(const Layer& layer) {
  ClsAttention c = cls_extents(layer);
  c.query = b_.cls_qkv, c.key = c.query + width(), c.value = c.key + width();
  c.x = b_.attention + lead_ * width();
  c.out = b_.attention;
  backend_->cls_attention(*stream_, c);
}

void EncoderNetwork::convolve(const Layer& layer, size_t first, size_t rows) {
  if (!layer.mixer->kernel) return;
  Convolution c{};
  c.heads = layer.heads, c.head_dim = layer.head_dim, c.kernel = layer.mixer->kernel;
  c.weight = layer.mixer->convolution;
  c.value = b_.value;
  c.row_at = b_.row_at, c.position_of = b_.position_of, c.positions = document_.positions;
  c.first = first, c.rows = rows;
  c.out = b_.attention + lead_ * width();
  backend_->convolve(*stream_, c);
}

// What follows attention, for the rows first .. end - 1 of x.
void EncoderNetwork::feed_forward(const Layer& layer, size_t first, size_t end) {
  Backend& device = *backend_;
  Stream& stream = *stream_;
  const Block& block = *layer.block;
  for_tiles(first, end, [&](size_t row, size_t rows) {
    float* x = b_.x + row * width();
    device.linear(stream, *layer.out, b_.attention + row * width(), rows, Activation::kNone, b_.mixed);
    device.add_norm(stream, block.norm2, width(), b_.mixed, rows, x, b_.normed);
    device.linear(stream, *layer.fc1, b_.normed, rows, block.feed_forward.activation, b_.hidden);
    device.linear(stream, *layer.fc2, b_.hidden, rows, Activation::kNone, b_.mixed);
    device.add(stream, b_.mixed, rows * width(), x);
  });
}

}  // namespace lsrt
