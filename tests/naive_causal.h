// The causal model of spec section 1 as a stream in plain double precision, one token at a time, from the
// float32 weights of a loaded model. Every layer has its own window and rank.
#pragma once

#include "tests/naive.h"

namespace naive {

class CausalStream {
 public:
  explicit CausalStream(const lsrt::Model& model) : model_(model) {
    for (const lsrt::Block& block : model.stages[0].blocks) layers_.push_back(start(block));
  }

  // Log-probabilities of the next token.
  Row feed(int32_t token) {
    const auto& stem = std::get<lsrt::TokenStem>(model_.stages[0].stem);
    const size_t d = model_.stages[0].width;
    Row x(d);
    for (size_t e = 0; e < d; ++e) x[e] = double{stem.scale} * stem.embedding.floats()[token * d + e];
    for (Layer& layer : layers_) x = step(layer, x);
    if (++position_ % model_.block == 0) {
      for (Layer& layer : layers_) end_block(layer);
    }
    Row p = softmax(linear(std::get<lsrt::TokenHead>(model_.head).projection, x));
    for (double& v : p) v = std::log(v);
    return p;
  }

 private:
  struct KeyValue {
    Row key, value;
  };
  struct Layer {
    const lsrt::Block* block;
    const lsrt::CausalLongShort* mixer;
    std::vector<KeyValue> window;                   // the last `window` rows
    std::vector<KeyValue> memory, summaries, next;  // memory form; of this block; the same in memory form
    Rows pending;                                   // inputs of the unfinished chunk
  };

  Layer start(const lsrt::Block& block) const {
    Layer layer{&block, &std::get<lsrt::CausalLongShort>(block.mixer), {}, {}, {}, {}, {}};
    const lsrt::CausalLongShort& m = *layer.mixer;
    Row zero(model_.stages[0].width);
    if (block.residual != lsrt::Residual::kPostNorm) zero = norm(block.norm1, zero);
    layer.window.assign(m.window, project(m, m.norm_window, zero));
    if (m.rank) {
      for (size_t c = 0; c < model_.memory / m.chunk; ++c) {
        for (const KeyValue& kv : memory_form(m, Rows(m.chunk, zero))) layer.memory.push_back(kv);
      }
    }
    return layer;
  }

  static KeyValue project(const lsrt::CausalLongShort& m, const lsrt::NormView& view, const Row& u) {
    const Row qkv = linear(m.qkv, u);
    return {norm(view, part(qkv, u.size(), u.size())), norm(view, part(qkv, 2 * u.size(), u.size()))};
  }

  // sum over the chunk's rows of their weight for each head and rank j, times x.
  static Row mix(const lsrt::CausalLongShort& m, const Rows& qkv, size_t j, const Rows& x) {
    Row out(x[0].size());
    for (size_t head = 0; head < m.heads; ++head) {
      Row score;
      std::vector<const Row*> values;
      for (size_t t = 0; t < x.size(); ++t) {
        score.push_back(qkv[t][3 * out.size() + head * m.rank + j]);
        values.push_back(&x[t]);
      }
      attend(score, values, head * m.head_dim, m.head_dim, &out);
    }
    return out;
  }

  static std::vector<KeyValue> memory_form(const lsrt::CausalLongShort& m, const Rows& inputs) {
    Rows qkv;
    for (const Row& u : inputs) qkv.push_back(linear(m.qkv, u));
    std::vector<KeyValue> out;
    for (size_t j = 0; j < m.rank; ++j) out.push_back(project(m, m.norm_summary, mix(m, qkv, j, inputs)));
    return out;
  }

  static std::vector<KeyValue> block_form(const lsrt::CausalLongShort& m, const Rows& inputs) {
    Rows qkv, keys, values;
    const size_t d = inputs[0].size();
    for (const Row& u : inputs) {
      qkv.push_back(linear(m.qkv, u));
      keys.push_back(part(qkv.back(), d, d)), values.push_back(part(qkv.back(), 2 * d, d));
    }
    std::vector<KeyValue> out;
    for (size_t j = 0; j < m.rank; ++j) {
      out.push_back(
          {norm(m.norm_summary, mix(m, qkv, j, keys)), norm(m.norm_summary, mix(m, qkv, j, values))});
    }
    return out;
  }

  // Entry of a table [heads, rows, head_dim], farthest first, spread over a row of d.
  static Row position(const lsrt::TensorView& table, size_t distance) {
    const size_t heads = table.shape[0], rows = table.shape[1], dim = table.shape[2];
    Row out(heads * dim);
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = table.floats()[(i / dim * rows + rows - 1 - distance) * dim + i % dim];
    }
    return out;
  }

  static Row attention(const Layer& layer, const Row& u) {
    const lsrt::CausalLongShort& m = *layer.mixer;
    const Row q = part(linear(m.qkv, u), 0, u.size());
    std::vector<KeyValue> seen = layer.memory;
    seen.insert(seen.end(), layer.summaries.begin(), layer.summaries.end());
    Row out(u.size());
    for (size_t head = 0; head < m.heads; ++head) {
      const size_t slice = head * m.head_dim;
      Row scores, content = q, placed = q;
      for (size_t i = 0; i < q.size(); ++i) content[i] += m.content_bias[i], placed[i] += m.position_bias[i];
      std::vector<const Row*> values;
      for (size_t i = 0; i < seen.size(); ++i) {
        const Row r = position(m.chunk_positions, seen.size() - 1 - i);
        scores.push_back(dot(q, seen[i].key, slice, m.head_dim) + dot(q, r, slice, m.head_dim));
        values.push_back(&seen[i].value);
      }
      for (size_t i = 0; i < layer.window.size(); ++i) {
        const Row r = position(m.window_positions, layer.window.size() - 1 - i);
        scores.push_back(dot(content, layer.window[i].key, slice, m.head_dim) +
                         dot(placed, r, slice, m.head_dim));
        values.push_back(&layer.window[i].value);
      }
      attend(scores, values, slice, m.head_dim, &out);
    }
    return linear(m.out, out);
  }

  Row step(Layer& layer, const Row& x) const {
    const lsrt::CausalLongShort& m = *layer.mixer;
    const lsrt::Block& block = *layer.block;
    const bool post = block.residual == lsrt::Residual::kPostNorm;
    const Row u = post ? x : norm(block.norm1, x);
    layer.window.push_back(project(m, m.norm_window, u));
    layer.window.erase(layer.window.begin(), layer.window.end() - m.window);
    const Row mixed = attention(layer, u);
    layer.pending.push_back(u);
    if (m.rank && layer.pending.size() == m.chunk) {
      for (const KeyValue& kv : block_form(m, layer.pending)) layer.summaries.push_back(kv);
      for (const KeyValue& kv : memory_form(m, layer.pending)) layer.next.push_back(kv);
      layer.pending.clear();
    }
    if (post) {
      const Row y = norm(block.norm1, add(x, mixed));
      return norm(block.norm2, add(y, feed_forward(block.feed_forward, y)));
    }
    const Row f = norm(block.norm2, add(u, mixed));
    return add(f, feed_forward(block.feed_forward, f));
  }

  void end_block(Layer& layer) const {
    layer.memory.insert(layer.memory.end(), layer.next.begin(), layer.next.end());
    layer.memory.erase(layer.memory.begin(),
                       layer.memory.end() - model_.memory / layer.mixer->chunk * layer.mixer->rank);
    layer.next.clear(), layer.summaries.clear();
  }

  const lsrt::Model& model_;
  std::vector<Layer> layers_;
  uint64_t position_ = 0;
};

}  // namespace naive
