// The encoder of spec section 2 in plain double precision, padded and masked as the authors have it, from the
// float32 weights of a loaded model.
#pragma once

#include <algorithm>

#include "tests/support/naive.h"

namespace lsrt_test::naive {

inline Rows full_attention(const FullAttention& m, const Rows& x, const std::vector<int>& seen) {
  const size_t d = x[0].size();
  Rows q, k, v, out;
  for (const Row& row : x) {
    const Row qkv = linear(m.qkv, row);
    q.push_back(part(qkv, 0, d)), k.push_back(part(qkv, d, d)), v.push_back(part(qkv, 2 * d, d));
    if (m.norm_keys) k.back() = norm(m.norm_keys, k.back()), v.back() = norm(m.norm_keys, v.back());
  }
  for (size_t i = 0; i < x.size(); ++i) {
    Row sum(d);
    for (size_t head = 0; head < m.heads; ++head) {
      Row scores;
      std::vector<const Row*> values;
      for (size_t t = 0; t < x.size(); ++t) {
        if (!seen[t]) continue;
        scores.push_back(dot(q[i], k[t], head * m.head_dim, m.head_dim));
        values.push_back(&v[t]);
      }
      attend(scores, values, head * m.head_dim, m.head_dim, &sum);
    }
    out.push_back(linear(m.out, sum));
  }
  return out;
}

// Outputs of the tokens; with a cls row (not null) its output comes first.
inline Rows long_short_attention(const EncoderLongShort& m, const Rows& x, const std::vector<int>& mask,
                                 const Row* cls) {
  const size_t d = x[0].size(), n = x.size();
  Rows q, k, v, score, global_k, global_v, mixed(n, Row(d));
  for (const Row& row : x) {
    const Row qkv = linear(m.qkv, row);
    q.push_back(part(qkv, 0, d));
    k.push_back(norm(m.norm_window, part(qkv, d, d))), v.push_back(norm(m.norm_window, part(qkv, 2 * d, d)));
    score.push_back(part(qkv, 3 * d, m.heads * m.rank));
  }
  const Row cls_qkv = cls ? linear(m.qkv, *cls) : Row();
  if (cls) {
    global_k.push_back(norm(m.norm_summary, part(cls_qkv, d, d)));
    global_v.push_back(norm(m.norm_summary, part(cls_qkv, 2 * d, d)));
  }
  for (size_t j = 0; j < m.rank; ++j) {
    Row sum_k(d), sum_v(d);
    for (size_t head = 0; head < m.heads; ++head) {
      Row s;
      std::vector<const Row*> keys, values;
      for (size_t t = 0; t < n; ++t) {
        if (!mask[t]) continue;
        s.push_back(score[t][head * m.rank + j]);
        keys.push_back(&k[t]), values.push_back(&v[t]);
      }
      attend(s, keys, head * m.head_dim, m.head_dim, &sum_k);
      attend(s, values, head * m.head_dim, m.head_dim, &sum_v);
    }
    global_k.push_back(norm(m.norm_summary, sum_k)), global_v.push_back(norm(m.norm_summary, sum_v));
  }
  for (int i = 0; i < static_cast<int>(n); ++i) {
    if (!mask[i]) continue;
    const int w = m.window, reach = std::max(w / 2, 1);
    const int first = w ? i / w * w - reach : i, end = w ? i / w * w + w + reach : m.rank ? i : i + 1;
    for (size_t head = 0; head < m.heads; ++head) {
      const size_t slice = head * m.head_dim;
      Row scores;
      std::vector<const Row*> values;
      auto see = [&](const Row& key, const Row& value) {
        scores.push_back(dot(q[i], key, slice, m.head_dim));
        values.push_back(&value);
      };
      for (size_t g = 0; g < global_k.size(); ++g) see(global_k[g], global_v[g]);
      for (int t = std::max(first, 0); t < std::min<int>(end, n); ++t) {
        if (mask[t]) see(k[t], v[t]);
      }
      attend(scores, values, slice, m.head_dim, &mixed[i]);
    }
  }
  Rows out;
  if (cls) {
    Row sum(d);
    const Row cls_value = part(cls_qkv, 2 * d, d);
    for (size_t head = 0; head < m.heads; ++head) {
      const size_t slice = head * m.head_dim;
      Row scores = {dot(part(cls_qkv, 0, d), part(cls_qkv, d, d), slice, m.head_dim)};
      std::vector<const Row*> values = {&cls_value};
      for (size_t t = 0; t < n; ++t) {
        if (!mask[t]) continue;
        scores.push_back(dot(part(cls_qkv, 0, d), mixed[t], slice, m.head_dim));
        values.push_back(&mixed[t]);
      }
      attend(scores, values, slice, m.head_dim, &sum);
    }
    out.push_back(linear(m.out, sum));
  }
  for (int t = 0; t < static_cast<int>(n); ++t) {
    Row sum = mixed[t];
    for (int s = 0; s < static_cast<int>(m.kernel); ++s) {
      const int from = t + s - static_cast<int>(m.kernel) / 2;
      if (from < 0 || from >= static_cast<int>(n) || !mask[from]) continue;
      for (size_t i = 0; i < d; ++i) sum[i] += m.convolution[i / m.head_dim * m.kernel + s] * v[from][i];
    }
    out.push_back(linear(m.out, sum));
  }
  return out;
}

// The pooled row of one document.
inline Row encode(const Model& model, const std::vector<int32_t>& tokens, const std::vector<int>& mask) {
  const auto& stem = std::get<TokenStem>(model.stages[0].stem);
  const auto& head = std::get<ClassifierHead>(model.head);
  const size_t d = model.stages[0].width;
  Rows x;
  for (size_t i = 0; i < tokens.size(); ++i) {
    x.push_back(table_row(stem.embedding.floats(), tokens[i], d));
    for (double& v : x[i]) v *= double{stem.scale};
    if (stem.positions) x[i] = add(x[i], table_row(stem.positions.floats(), i, d));
  }
  Row cls;
  for (size_t b = 0; b < model.stages[0].blocks.size(); ++b) {
    const Block& block = model.stages[0].blocks[b];
    if (model.sequence.cls_token && b == model.sequence.cls_from_block) {
      cls.assign(model.sequence.cls_token, model.sequence.cls_token + d);
    }
    Rows normed, rows = x;
    for (const Row& row : x) normed.push_back(norm(block.norm1, row));
    if (!cls.empty()) rows.insert(rows.begin(), cls);
    Rows mixed;
    if (const auto* full = std::get_if<FullAttention>(&block.mixer)) {
      std::vector<int> seen = mask;
      if (!cls.empty()) normed.insert(normed.begin(), norm(block.norm1, cls)), seen.insert(seen.begin(), 1);
      mixed = full_attention(*full, normed, seen);
    } else {
      mixed = long_short_attention(std::get<EncoderLongShort>(block.mixer), normed, mask,
                                   cls.empty() ? nullptr : &cls);
    }
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i] = add(rows[i], mixed[i]);
      rows[i] = add(rows[i], feed_forward(block.feed_forward, norm(block.norm2, rows[i])));
    }
    if (!cls.empty()) cls = rows[0], rows.erase(rows.begin());
    x = rows;
  }
  if (head.pool == Pool::kCls) return norm(head.norm, cls);
  Row mean = cls.empty() ? Row(d) : norm(head.norm, cls);
  size_t rows = cls.empty() ? 0 : 1;
  for (size_t i = 0; i < x.size(); ++i) {
    if (mask[i]) mean = add(mean, norm(head.norm, x[i])), ++rows;
  }
  for (double& v : mean) v /= head.pool == Pool::kMeanPadded ? model.sequence.max_length : rows;
  return mean;
}

// Logits of one input; as many documents as the head compares.
inline Row classify(const Model& model, const std::vector<std::vector<int32_t>>& tokens,
                    const std::vector<std::vector<int>>& masks) {
  const auto& head = std::get<ClassifierHead>(model.head);
  Row features = encode(model, tokens[0], masks[0]);
  if (head.pair) {
    const Row a = features, b = encode(model, tokens[1], masks[1]);
    features.insert(features.end(), b.begin(), b.end());
    for (size_t i = 0; i < a.size(); ++i) features.push_back(a[i] * b[i]);
    for (size_t i = 0; i < a.size(); ++i) features.push_back(a[i] - b[i]);
  }
  return classify_features(head, features);
}

}  // namespace lsrt_test::naive
