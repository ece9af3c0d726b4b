// The causal model of spec section 1 as a stream in plain double precision, one token at a time, from the
// float32 weights of a loaded model. Every layer has its own heads, window, chunk and rank.
#pragma once

#include <deque>
#include <memory>

#include "tests/support/naive_scan.h"

namespace lsrt_test::naive {

class CausalStream {
 public:
  // block, memory: tokens; 0: the model's.
  explicit CausalStream(const Model& model, size_t block = 0, size_t memory = 0)
      : model_(model), block_(block ? block : model.block), memory_(memory ? memory : model.memory) {
    for (const Block& block : model.stages[0].blocks) layers_.push_back(start(block));
  }

  // Log-probabilities of the next token.
  Row feed(int32_t token) {
    const auto& stem = std::get<TokenStem>(model_.stages[0].stem);
    const size_t d = model_.stages[0].width;
    Row x = table_row(stem.embedding.floats(), token, d);
    for (double& v : x) v *= double{stem.scale};
    for (Layer& layer : layers_) x = step(layer, x);
    if (++position_; block_ && position_ % block_ == 0) {
      for (Layer& layer : layers_) end_block(layer);
    }
    const auto& head = std::get<TokenHead>(model_.head);
    Row p = softmax(linear(head.projection, norm(head.norm, x)));
    for (double& v : p) v = std::log(v);
    return p;
  }

 private:
  struct KeyValue {
    Row key, value;
  };
  struct Layer {
    const Block* block;
    const CausalLongShort* mixer;  // null: scan
    std::shared_ptr<ScanLayer> scan;
    std::deque<KeyValue> window;                    // the last `window` rows
    std::vector<KeyValue> memory, summaries, next;  // memory form; of this block; the same in memory form
    Rows pending;                                   // inputs of the unfinished chunk
    Rows window_positions, chunk_positions;         // by distance
  };

  Layer start(const Block& block) const {
    Layer layer{};
    layer.block = &block, layer.mixer = std::get_if<CausalLongShort>(&block.mixer);
    if (!layer.mixer) {
      if (const auto* scan = std::get_if<SelectiveScan>(&block.mixer)) {
        layer.scan = std::make_shared<SelectiveScanLayer>(*scan);
      } else {
        layer.scan = std::make_shared<StateSpaceDualLayer>(std::get<StateSpaceDual>(block.mixer));
      }
      return layer;
    }
    const CausalLongShort& m = *layer.mixer;
    Row zero(model_.stages[0].width);
    if (block.residual != Residual::kPostNorm) zero = norm(block.norm1, zero);
    layer.window.assign(m.window, project(m, m.norm_window, zero));
    for (size_t s = 0; s < m.window; ++s) layer.window_positions.push_back(position(m.window_positions, s));
    if (m.rank) {
      const std::vector<KeyValue> form = memory_form(m, Rows(m.chunk, zero));
      for (size_t c = 0; c < memory_ / m.chunk; ++c) {
        layer.memory.insert(layer.memory.end(), form.begin(), form.end());
      }
      const size_t count = (memory_ + block_) / m.chunk * m.rank;
      const bool stored = count <= m.chunk_positions.shape[1];
      for (size_t s = 0; s < count; ++s) {
        layer.chunk_positions.push_back(
            stored ? position(m.chunk_positions, s)
                   : linear(m.chunk_position_projection, sinusoid(s, m.chunk_position_clamp)));
      }
    }
    return layer;
  }

  Row sinusoid(size_t distance, int32_t clamp) const {
    const size_t d = model_.stages[0].width;
    const double s = clamp > 0 ? std::min<double>(distance, clamp) : distance;
    Row row(d);
    for (size_t k = 0; k < d / 2; ++k) {
      const double angle = s * std::pow(10000.0, -2.0 * k / d);
      row[k] = std::sin(angle), row[d / 2 + k] = std::cos(angle);
    }
    return row;
  }

  static KeyValue project(const CausalLongShort& m, const NormView& view, const Row& u) {
    const Row qkv = linear(m.qkv, u);
    return {norm(view, part(qkv, u.size(), u.size())), norm(view, part(qkv, 2 * u.size(), u.size()))};
  }

  // sum over the chunk's rows of their weight for each head and rank j, times x.
  static Row mix(const CausalLongShort& m, const Rows& qkv, size_t j, const Rows& x) {
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

  static std::vector<KeyValue> memory_form(const CausalLongShort& m, const Rows& inputs) {
    Rows qkv;
    for (const Row& u : inputs) qkv.push_back(linear(m.qkv, u));
    std::vector<KeyValue> out;
    for (size_t j = 0; j < m.rank; ++j) out.push_back(project(m, m.norm_summary, mix(m, qkv, j, inputs)));
    return out;
  }

  static std::vector<KeyValue> block_form(const CausalLongShort& m, const Rows& inputs) {
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
  static Row position(const TensorView& table, size_t distance) {
    const size_t heads = table.shape[0], rows = table.shape[1], dim = table.shape[2];
    Row out(heads * dim);
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = table.floats()[(i / dim * rows + rows - 1 - distance) * dim + i % dim];
    }
    return out;
  }

  static Row attention(const Layer& layer, const Row& u) {
    const CausalLongShort& m = *layer.mixer;
    const Row q = part(linear(m.qkv, u), 0, u.size());
    std::vector<const KeyValue*> seen;
    for (const KeyValue& kv : layer.memory) seen.push_back(&kv);
    for (const KeyValue& kv : layer.summaries) seen.push_back(&kv);
    Row out(u.size());
    for (size_t head = 0; head < m.heads; ++head) {
      const size_t slice = head * m.head_dim;
      Row scores, content = q, placed = q;
      for (size_t i = 0; i < q.size(); ++i) content[i] += m.content_bias[i], placed[i] += m.position_bias[i];
      std::vector<const Row*> values;
      for (size_t i = 0; i < seen.size(); ++i) {
        const Row& r = layer.chunk_positions[seen.size() - 1 - i];
        scores.push_back(dot(q, seen[i]->key, slice, m.head_dim) + dot(q, r, slice, m.head_dim));
        values.push_back(&seen[i]->value);
      }
      for (size_t i = 0; i < layer.window.size(); ++i) {
        const Row& r = layer.window_positions[layer.window.size() - 1 - i];
        scores.push_back(dot(content, layer.window[i].key, slice, m.head_dim) +
                         dot(placed, r, slice, m.head_dim));
        values.push_back(&layer.window[i].value);
      }
      attend(scores, values, slice, m.head_dim, &out);
    }
    return linear(m.out, out);
  }

  Row mix(Layer& layer, const Row& u) const {
    if (layer.scan) return layer.scan->step(u);
    const CausalLongShort& m = *layer.mixer;
    layer.window.push_back(project(m, m.norm_window, u));
    layer.window.erase(layer.window.begin(), layer.window.end() - m.window);
    const Row mixed = attention(layer, u);
    layer.pending.push_back(u);
    if (m.rank && layer.pending.size() == m.chunk) {
      for (const KeyValue& kv : block_form(m, layer.pending)) layer.summaries.push_back(kv);
      for (const KeyValue& kv : memory_form(m, layer.pending)) layer.next.push_back(kv);
      layer.pending.clear();
    }
    return mixed;
  }

  Row step(Layer& layer, const Row& x) const {
    const Block& block = *layer.block;
    const bool post = block.residual == Residual::kPostNorm;
    const Row u = post ? x : norm(block.norm1, x);
    const Row mixed = mix(layer, u);
    if (!block.feed_forward) {
      if (post) return norm(block.norm1, add(x, mixed));
      return add(block.residual == Residual::kPreNorm ? x : u, mixed);
    }
    if (post) {
      const Row y = norm(block.norm1, add(x, mixed));
      return norm(block.norm2, add(y, feed_forward(block.feed_forward, y)));
    }
    const Row y = add(block.residual == Residual::kPreNorm ? x : u, mixed), f = norm(block.norm2, y);
    return add(block.residual == Residual::kPreNorm ? y : f, feed_forward(block.feed_forward, f));
  }

  void end_block(Layer& layer) const {
    if (layer.scan) return;
    layer.memory.insert(layer.memory.end(), layer.next.begin(), layer.next.end());
    layer.memory.erase(layer.memory.begin(),
                       layer.memory.end() - memory_ / layer.mixer->chunk * layer.mixer->rank);
    layer.next.clear(), layer.summaries.clear();
  }

  const Model& model_;
  const size_t block_, memory_;
  std::vector<Layer> layers_;
  uint64_t position_ = 0;
};

}  // namespace lsrt_test::naive
