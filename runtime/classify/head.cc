#include "runtime/classify/head.h"

#include <algorithm>

namespace lsrt {

HeadRunner::HeadRunner(const ClassifierHead& head, Backend& backend) : head_(head), backend_(backend) {
  for (size_t i = 1; i < head.layers.size(); ++i) hidden_ = std::max(hidden_, head.layers[i].inputs);
}

void HeadRunner::plan(size_t rows, StreamPlan* plan) const {
  for (const LinearView& view : head_.layers) backend_.ops().linear->plan(view, rows, plan);
}

// Two rows of hidden values, so that one layer reads what the last one wrote.
size_t HeadRunner::scratch_floats(size_t rows) const { return 2 * rows * hidden_; }

Status HeadRunner::prepare() {
  norm_ = backend_.norm(head_.norm);
  for (const LinearView& view : head_.layers) {
    LSRT_ASSIGN(const Linear* layer, backend_.prepare(view));
    layers_.push_back(layer);
  }
  return {};
}

void HeadRunner::pool(Stream& stream, size_t width, Dev<float> rows, size_t n, float divisor,
                      Dev<float> features) const {
  const RowOps& ops = *backend_.ops().rows;
  if (head_.pool == Pool::kCls) {
    ops.layer_norm(stream, norm_, width, rows, width, 1, features, width);
    return;
  }
  if (norm_) ops.layer_norm(stream, norm_, width, rows, width, n, rows, width);
  ops.mean_rows(stream, rows, n, width, divisor, features);
}

void HeadRunner::run(Stream& stream, Dev<const float> features, size_t rows, Dev<float> scratch,
                     Dev<float> logits) const {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const bool last = i + 1 == layers_.size();
    const Dev<float> out = last ? logits : scratch + i % 2 * rows * hidden_;
    backend_.ops().linear->linear(stream, *layers_[i], features, rows,
                                  last ? Activation::kNone : Activation::kRelu, out);
    features = out;
  }
}

}  // namespace lsrt
