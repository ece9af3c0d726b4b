#include "runtime/classify/encoder_network.h"

#include <algorithm>
#include <cstring>

namespace lsrt {
namespace {

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
  Dev<const float> features = b_.features;
  if (head().pair) {
    rows().compare(*stream_, b_.features, width(), b_.pair);
    features = b_.pair;
  }
  head_runner_->run(*stream_, features, 1, b_.head, b_.logits);
  backend_.copy_out(*stream_, logits, b_.logits, classes() * sizeof(float));
  return backend_.synchronize(*stream_);
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

// features[width] on the device, encoded rows on the host.
Status EncoderNetwork::encode(const Document& document, Dev<float> features, float* encoded) {
  document_.pack(document.mask, document.length);
  embed(document);
  for (const Layer& layer : layers_) run_layer(layer);

  const size_t rows = lead_ + document_.rows;
  const float divisor = static_cast<float>(head().pool == Pool::kMeanPadded ? max_length() : rows);
  head_runner_->pool(*stream_, width(), b_.x, rows, divisor, features);
  if (encoded && head().pool == Pool::kCls) {
    backend_.copy_out(*stream_, encoded, features, width() * sizeof(float));
  } else if (encoded) {
    std::memset(encoded, 0, document.length * width() * sizeof(float));
    for_runs(document_, [&](size_t first, size_t count) {
      backend_.copy_out(*stream_, encoded + first * width(),
                        b_.x + (lead_ + document_.row_at[first]) * width(), count * width() * sizeof(float));
    });
  }
  return {};
}

// The index tables and the first layer's input.
void EncoderNetwork::embed(const Document& document) {
  auto copy = [&](Dev<int32_t> device, const int32_t* host, size_t count) {
    backend_.copy_in(*stream_, device, host, count * sizeof(int32_t));
  };
  copy(b_.row_at, document_.row_at, document_.positions);
  copy(b_.position_of, document_.position_of, document_.rows);
  for (Grouping& grouping : groupings_) {
    SequenceGroups& groups = grouping.groups;
    groups.build(document_);
    copy(grouping.query_rows, groups.query_rows, groups.count * groups.queries);
    copy(grouping.key_rows, groups.key_rows, groups.count * groups.group_keys());
  }
  if (lead_) rows().copy_rows(*stream_, width(), cls_token_, width(), 1, b_.x, width());
  for_runs(document_, [&](size_t first, size_t count) {
    const size_t row = document_.row_at[first];
    copy(b_.tokens + row, document.tokens + first, count);
    rows().embed(*stream_, embedding_, stem().scale, width(), b_.tokens + row, count,
                 positions_ ? positions_ + first * width() : positions_, b_.x + (lead_ + row) * width());
  });
}

void EncoderNetwork::run_layer(const Layer& layer) {
  const size_t first = layer.cls ? 0 : lead_;
  if (!layer.mixer) {
    project(layer, first);
    attend_all(layer, first);
    feed_forward(layer, first, lead_ + document_.rows - first);
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
  const size_t tile = std::max<size_t>(1, runner_.tile_rows() / groups.queries);
  for (size_t group = 0; group < groups.count; group += tile) {
    const size_t count = std::min(tile, groups.count - group);
    if (!layer.cls) attend_groups(layer, group, count);
    const size_t row = groups.first_row(group);
    const size_t end = group + count < groups.count ? groups.first_row(group + count) : document_.rows;
    convolve(layer, row, end - row);
    feed_forward(layer, lead_ + row, end - row);
  }
}

void EncoderNetwork::project(const Layer& layer, size_t first) {
  const size_t cls = layer.cls ? 1 : 0;
  Projected to{};
  to.store = store_of(layer);
  to.query = b_.attention + first * width();
  if (layer.mixer && layer.mixer->kernel) to.value = b_.value;
  to.landmark_key = b_.global_key + cls * width(), to.landmark_value = b_.global_value + cls * width();
  runner_.project(*stream_, layer.prepared, b_.x + first * width(), lead_ + document_.rows - first, 0, to);
}

// The cls row, which no other norm has seen. Its key and value come first among the global rows.
void EncoderNetwork::project_cls(const Layer& layer) {
  backend_.ops().linear->linear(*stream_, *layer.prepared.qkv, b_.x, 1, Activation::kNone, b_.cls_qkv);
  const Dev<float> key_value = b_.cls_qkv + width();
  rows().copy_rows(*stream_, width(), key_value, width(), 1, b_.global_key, width());
  rows().copy_rows(*stream_, width(), key_value + width(), width(), 1, b_.global_value, width());
}

void EncoderNetwork::store_globals(const Layer& layer) {
  const size_t globals = layer.prepared.rank + (layer.cls ? 1 : 0);
  if (globals == 0) return;
  runner_.store_globals(*stream_, layer.prepared.norm_summary, store_of(layer), lead_ + max_length(), globals,
                        b_.global_key, b_.global_value);
}

void EncoderNetwork::attend_all(const Layer& layer, size_t first) {
  GroupedAttention a = attention_extents(layer);
  a.query = a.out = b_.attention + first * width();
  a.query_rows = a.key_rows = b_.all_rows;
  backend_.ops().grouped->attend(*stream_, a);
}

void EncoderNetwork::attend_groups(const Layer& layer, size_t first_group, size_t groups) {
  const Grouping& grouping = groupings_[layer.grouping];
  GroupedAttention a = attention_extents(layer);
  a.groups = groups;
  a.query_rows = grouping.query_rows + first_group * a.group_queries;
  a.key_rows = grouping.key_rows + first_group * a.group_keys;
  a.query = a.out = b_.attention + lead_ * width();
  backend_.ops().grouped->attend(*stream_, a);
}

void EncoderNetwork::attend_cls(const Layer& layer) {
  ClsAttention c = cls_extents(layer);
  c.query = b_.cls_qkv, c.key = c.query + width(), c.value = c.key + width();
  c.x = b_.attention + lead_ * width();
  c.out = b_.attention;
  backend_.ops().grouped->attend(*stream_, c);
}

void EncoderNetwork::convolve(const Layer& layer, size_t first, size_t rows) {
  if (!layer.mixer->kernel) return;
  Convolution c{};
  c.heads = layer.prepared.heads, c.head_dim = layer.prepared.head_dim, c.kernel = layer.mixer->kernel;
  c.weight = layer.convolution;
  c.value = b_.value;
  c.row_at = b_.row_at, c.position_of = b_.position_of, c.positions = document_.positions;
  c.first = first, c.rows = rows;
  c.out = b_.attention + lead_ * width();
  backend_.ops().grouped->convolve(*stream_, c);
}

void EncoderNetwork::feed_forward(const Layer& layer, size_t first, size_t rows) {
  runner_.feed_forward(*stream_, layer.prepared, b_.attention + first * width(), rows,
                       b_.x + first * width());
}

}  // namespace lsrt
