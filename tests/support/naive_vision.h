// The vision transformer of spec section 3 in plain double precision, from the float32 weights of a loaded
// model. Every block has its own mixer, heads, window and rank.
#pragma once

#include "tests/support/naive.h"

namespace lsrt_test::naive {

// Rows of a stage: the cls row, if there is one, then grid x grid patches.
struct Grid {
  size_t cls, side;
  size_t rows() const { return cls + side * side; }
  int y(size_t row) const { return static_cast<int>((row - cls) / side); }
  int x(size_t row) const { return static_cast<int>((row - cls) % side); }
};

struct QueryKeyValue {
  Rows q, k, v, score;  // score: of the landmarks
};

template <typename Mixer>
QueryKeyValue project_rows(const Mixer& m, const NormView& view, const Rows& x) {
  const size_t d = x[0].size();
  QueryKeyValue out;
  for (const Row& row : x) {
    const Row qkv = linear(m.qkv, row);
    out.q.push_back(part(qkv, 0, d));
    out.k.push_back(norm(view, part(qkv, d, d))), out.v.push_back(norm(view, part(qkv, 2 * d, d)));
    out.score.push_back(part(qkv, 3 * d, qkv.size() - 3 * d));
  }
  return out;
}

inline Rows full_attention(const FullAttention& m, const Rows& x, const Grid& grid) {
  const QueryKeyValue p = project_rows(m, m.norm_keys, x);
  const int reach = static_cast<int>(grid.side) - 1, side = 2 * reach + 1;
  const auto bias = [&](size_t i, size_t t, size_t head) -> double {
    const bool cls_i = i < grid.cls, cls_t = t < grid.cls;
    if (cls_i || cls_t) {
      return m.cls_bias ? m.cls_bias[(cls_i && cls_t ? 0 : cls_i ? 1 : 2) * m.heads + head] : 0;
    }
    if (!m.relative_bias) return 0;
    const int dy = grid.y(i) - grid.y(t) + reach, dx = grid.x(i) - grid.x(t) + reach;
    return m.relative_bias[(dy * side + dx) * m.heads + head];
  };
  Rows out;
  for (size_t i = 0; i < x.size(); ++i) {
    Row sum(x[0].size());
    for (size_t head = 0; head < m.heads; ++head) {
      Row scores;
      std::vector<const Row*> values;
      for (size_t t = 0; t < x.size(); ++t) {
        scores.push_back(dot(p.q[i], p.k[t], head * m.head_dim, m.head_dim) + bias(i, t, head));
        values.push_back(&p.v[t]);
      }
      attend(scores, values, head * m.head_dim, m.head_dim, &sum);
    }
    out.push_back(linear(m.out, sum));
  }
  return out;
}

inline Rows long_short_attention(const VisionLongShort& m, const Rows& x, const Grid& grid) {
  const size_t d = x[0].size();
  const QueryKeyValue p = project_rows(m, m.norm_window, x);
  Rows landmark_k, landmark_v;
  for (size_t j = 0; j < m.rank; ++j) {
    Row sum_k(d), sum_v(d);
    for (size_t head = 0; head < m.heads; ++head) {
      Row scores;
      std::vector<const Row*> keys, values;
      for (size_t t = grid.cls; t < x.size(); ++t) {
        scores.push_back(p.score[t][head * m.rank + j]);
        keys.push_back(&p.k[t]), values.push_back(&p.v[t]);
      }
      attend(scores, keys, head * m.head_dim, m.head_dim, &sum_k);
      attend(scores, values, head * m.head_dim, m.head_dim, &sum_v);
    }
    landmark_k.push_back(norm(m.norm_summary, sum_k)), landmark_v.push_back(norm(m.norm_summary, sum_v));
  }
  const int f = m.window, around = std::max(f / 2, 1), reach = f - 1 + around, side = 2 * reach + 1;
  const auto near = [&](int query, int key) {
    const int first = query / f * f;
    return key >= first - around && key < first + f + around;
  };
  Rows found(x.size(), Row(d)), out;
  for (size_t i = grid.cls; i < x.size(); ++i) {
    for (size_t head = 0; head < m.heads; ++head) {
      Row scores;
      std::vector<const Row*> values;
      const auto see = [&](const Row& key, const Row& value, double bias) {
        scores.push_back(dot(p.q[i], key, head * m.head_dim, m.head_dim) + bias);
        values.push_back(&value);
      };
      for (size_t j = 0; j < m.rank; ++j) see(landmark_k[j], landmark_v[j], 0);
      for (size_t t = grid.cls; t < x.size(); ++t) {
        if (!near(grid.y(i), grid.y(t)) || !near(grid.x(i), grid.x(t))) continue;
        const int dy = grid.y(i) - grid.y(t) + reach, dx = grid.x(i) - grid.x(t) + reach;
        see(p.k[t], p.v[t], m.relative_bias ? m.relative_bias[(dy * side + dx) * m.heads + head] : 0);
      }
      if (grid.cls) see(p.k[0], p.v[0], 0);
      attend(scores, values, head * m.head_dim, m.head_dim, &found[i]);
    }
  }
  for (size_t head = 0; grid.cls && head < m.heads; ++head) {
    const size_t slice = head * m.head_dim;
    Row scores = {dot(p.q[0], p.k[0], slice, m.head_dim)};
    std::vector<const Row*> values = {&p.v[0]};
    for (size_t t = 1; t < x.size(); ++t) {
      scores.push_back(dot(p.q[0], found[t], slice, m.head_dim));
      values.push_back(&found[t]);
    }
    attend(scores, values, slice, m.head_dim, &found[0]);
  }
  for (const Row& row : found) out.push_back(linear(m.out, row));
  return out;
}

// Spec more-mixers, section 1.
inline Rows window_attention(const VisionWindow& m, const Rows& x, const Grid& grid) {
  const size_t d = x[0].size(), g = grid.cls;
  const int f = m.window, n = grid.side, reach = f - 1 + m.margin, side = 2 * reach + 1;
  const int turn = (n + f - 1) / f * f;  // of a torus
  const bool own = static_cast<bool>(m.global_qkv.weight);
  const NormView none;
  const struct {
    const LinearView &qkv, &out;
  } patches{m.qkv, m.out}, globals{own ? m.global_qkv : m.qkv, own ? m.global_out : m.out};
  Rows out;
  const auto mix = [&](const QueryKeyValue& p, const LinearView& to, size_t i, const auto& each_key) {
    Row sum(d);
    for (size_t head = 0; head < m.heads; ++head) {
      Row scores;
      std::vector<const Row*> values;
      each_key(head, [&](size_t t, double bias) {
        scores.push_back(dot(p.q[i], p.k[t], head * m.head_dim, m.head_dim) + bias);
        values.push_back(&p.v[t]);
      });
      attend(scores, values, head * m.head_dim, m.head_dim, &sum);
    }
    out.push_back(linear(to, sum));
  };
  const QueryKeyValue of_patches = project_rows(patches, none, x),
                      of_globals = project_rows(globals, none, x);
  for (size_t i = 0; i < g; ++i) {
    mix(of_globals, globals.out, i, [&](size_t head, const auto& see) {
      for (size_t t = 0; t < x.size(); ++t) {
        const double bias = !m.global_bias ? 0
                            : t < g        ? m.global_global_bias[(head * g + i) * g + t]
                                           : m.global_bias[head * g + i];
        see(t, bias);
      }
    });
  }
  for (size_t i = g; i < x.size(); ++i) {
    mix(of_patches, patches.out, i, [&](size_t head, const auto& see) {
      for (size_t t = 0; t < g; ++t) see(t, m.global_bias ? m.global_bias[(m.heads + head) * g + t] : 0);
      const int margin = m.margin, y = grid.y(i), u = grid.x(i), top = y / f * f, left = u / f * f;
      for (int ky = top - margin; ky < top + f + margin; ++ky) {
        for (int kx = left - margin; kx < left + f + margin; ++kx) {
          const bool torus = m.edge == WindowEdge::kTorus;
          const int at_y = torus ? (ky % turn + turn) % turn : ky,
                    at_x = torus ? (kx % turn + turn) % turn : kx;
          if (at_y < 0 || at_x < 0 || at_y >= n || at_x >= n) continue;
          const int dy = y - ky, dx = u - kx;
          if (m.edge == WindowEdge::kExact && (std::abs(dy) > f || std::abs(dx) > f)) continue;
          see(g + at_y * n + at_x,
              m.relative_bias ? m.relative_bias[((dy + reach) * side + dx + reach) * m.heads + head] : 0);
        }
      }
    });
  }
  return out;
}

// Spec more-mixers, section 2: the sum itself.
inline Rows global_filter(const GlobalFilter& m, const Rows& x, const Grid& grid) {
  const size_t n = grid.side, d = x[0].size();
  Rows out(x.size(), Row(d));
  for (size_t to = 0; to < x.size(); ++to) {
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) {
        const Row& from = x[(to / n + n - i) % n * n + (to % n + n - j) % n];
        for (size_t c = 0; c < d; ++c) out[to][c] += m.kernel[(c * n + i) * n + j] * from[c];
      }
    }
  }
  return out;
}

// Logits of one image [3, size, size], normalised.
inline Row classify_image(const Model& model, const float* image) {
  // The picture that the next stage cuts: [side * side] rows of channels.
  size_t side = model.image.size;
  Rows picture(side * side, Row(3)), x;
  for (size_t i = 0; i < picture.size(); ++i) {
    for (size_t c = 0; c < 3; ++c) picture[i][c] = image[c * picture.size() + i];
  }
  for (const Stage& stage : model.stages) {
    const auto& stem = std::get<PatchStem>(stage.stem);
    const Grid grid{stem.cls_count, stem.grid};
    x.clear();
    for (size_t i = 0; i < stem.cls_count; ++i) x.push_back(table_row(stem.cls_tokens, i, stage.width));
    for (size_t i = 0; i < grid.side * grid.side; ++i) {
      Row patch;
      for (size_t c = 0; c < stem.channels; ++c) {
        for (size_t v = 0; v < stem.patch; ++v) {
          for (size_t u = 0; u < stem.patch; ++u) {
            const size_t at_y = i / grid.side * stem.patch + v, at_x = i % grid.side * stem.patch + u;
            patch.push_back(picture[at_y * side + at_x][c]);
          }
        }
      }
      x.push_back(norm(stem.norm, linear(stem.projection, patch)));
    }
    for (size_t i = 0; stem.positions && i < x.size(); ++i) {
      x[i] = add(x[i], table_row(stem.positions, i, stage.width));
    }
    for (const Block& block : stage.blocks) {
      Rows normed;
      for (const Row& row : x) normed.push_back(norm(block.norm1, row));
      if (const auto* filter = std::get_if<GlobalFilter>(&block.mixer)) {  // one residual around all
        const Rows filtered = global_filter(*filter, normed, grid);
        for (size_t i = 0; i < x.size(); ++i) {
          x[i] = add(x[i], feed_forward(block.feed_forward, norm(block.norm2, filtered[i])));
        }
        continue;
      }
      const auto* full = std::get_if<FullAttention>(&block.mixer);
      const auto* window = std::get_if<VisionWindow>(&block.mixer);
      const Rows mixed = full ? full_attention(*full, normed, grid)
                         : window
                             ? window_attention(*window, normed, grid)
                             : long_short_attention(std::get<VisionLongShort>(block.mixer), normed, grid);
      for (size_t i = 0; i < x.size(); ++i) {
        x[i] = add(x[i], mixed[i]);
        x[i] = add(x[i], feed_forward(block.feed_forward, norm(block.norm2, x[i])));
      }
    }
    picture.assign(x.begin() + static_cast<std::ptrdiff_t>(grid.cls), x.end());
    side = grid.side;
  }
  const auto& head = std::get<ClassifierHead>(model.head);
  if (head.pool == Pool::kCls) return classify_features(head, norm(head.norm, x[0]));
  Row mean(x[0].size());
  for (const Row& row : x) mean = add(mean, norm(head.norm, row));
  for (double& v : mean) v /= static_cast<double>(x.size());
  return classify_features(head, mean);
}

}  // namespace lsrt_test::naive
