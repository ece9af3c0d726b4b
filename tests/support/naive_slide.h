// The encoder of slides of spec more-mixers, section 3, in plain double precision, from the float32 weights
// of a loaded model: for each head and row the keys as the formula names them.
#pragma once

#include "tests/support/naive.h"

namespace lsrt_test::naive {

inline Rows dilated_attention(const DilatedAttention& m, const Rows& x) {
  const size_t d = x[0].size(), rows = x.size();
  Rows q, k, v;
  for (const Row& row : x) {
    const Row qkv = linear(m.qkv, row);
    q.push_back(part(qkv, 0, d)), k.push_back(part(qkv, d, d)), v.push_back(part(qkv, 2 * d, d));
  }
  const Row zeros(d);
  Rows found(rows, Row(d));
  for (size_t head = 0; head < m.heads; ++head) {
    for (size_t t = 0; t < rows; ++t) {
      Row scores;
      std::vector<const Row*> values;
      for (uint32_t i = 0; i < m.dilation_count; ++i) {
        const size_t w = std::min<size_t>(m.dilations[i].segment, rows), r = m.dilations[i].ratio;
        const size_t residue = head / ((m.heads + r - 1) / r), s = t / w * w;
        if ((t - s) % r != residue) continue;
        for (size_t j = s + residue; j < s + (w + r - 1) / r * r; j += r) {
          const bool real = j < rows && j < s + w;
          scores.push_back(real ? dot(q[t], k[j], head * m.head_dim, m.head_dim) : 0);
          values.push_back(real ? &v[j] : &zeros);
        }
      }
      attend(scores, values, head * m.head_dim, m.head_dim, &found[t]);
    }
  }
  return found;
}

// The embedding of tiles[count, features] at coords[count, 2].
inline Row embed_slide(const Model& model, const std::vector<float>& tiles,
                       const std::vector<float>& coords) {
  const auto& stem = std::get<TileStem>(model.stages[0].stem);
  const size_t d = model.stages[0].width, features = stem.projection.inputs;
  Rows x = {table_row(stem.cls_token, 0, d)};
  for (size_t t = 0; t < coords.size() / 2; ++t) {
    Row row = linear(stem.projection, table_row(tiles.data(), t, features));
    for (size_t half = 0; half < 2; ++half) {
      const auto cell = static_cast<size_t>(std::floor(coords[2 * t + 1 - half] / float(stem.tile)));
      for (size_t i = 0; i < d / 2; ++i)
        row[half * d / 2 + i] = rounded(row[half * d / 2 + i] + stem.positions.floats()[cell * d / 2 + i]);
    }
    x.push_back(row);
  }
  for (const Block& block : model.stages[0].blocks) {
    const auto& mixer = std::get<DilatedAttention>(block.mixer);
    Rows normed;
    for (const Row& row : x) normed.push_back(norm(block.norm1, row));
    const Rows found = dilated_attention(mixer, normed);
    for (size_t t = 0; t < x.size(); ++t) {
      x[t] = add(x[t], linear(mixer.out, norm(block.norm_mixed, found[t])));
      x[t] = add(x[t], feed_forward(block.feed_forward, norm(block.norm2, x[t])));
    }
  }
  const auto& head = std::get<EmbeddingHead>(model.head);
  if (head.pool == Pool::kCls) return norm(head.output_norm, norm(head.norm, x[0]));
  Row mean(d);
  for (size_t t = 1; t < x.size(); ++t) {
    const Row row = norm(head.norm, x[t]);
    for (size_t i = 0; i < d; ++i) mean[i] += row[i] / static_cast<double>(x.size() - 1);
  }
  return norm(head.output_norm, mean);
}

}  // namespace lsrt_test::naive
