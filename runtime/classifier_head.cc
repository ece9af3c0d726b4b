#include "runtime/classifier_head.h"

#include <algorithm>

namespace lsrt {

Result<std::unique_ptr<HeadRunner>> HeadRunner::create(const ClassifierHead& head, Backend& backend) {
  std::unique_ptr<HeadRunner> runner(new HeadRunner(head, backend));
  for (const LinearView& view : head.layers) {
    if (!runner->layers_.empty()) runner->hidden_ = std::max(runner->hidden_, view.inputs);
    LSRT_ASSIGN(const Linear* layer, backend.prepare(view));
    runner->layers_.push_back(layer);
  }
  return runner;
}

size_t HeadRunner::workspace_bytes(size_t rows, size_t threads) const {
  size_t bytes = 0;
  for (const Linear* layer : layers_)
    bytes = std::max(bytes, backend_.linear_workspace_bytes(*layer, rows, threads));
  return bytes;
}

// Two rows of hidden values, so that one layer reads what the last one wrote.
size_t HeadRunner::scratch_floats(size_t rows) const { return 2 * rows * hidden_; }

void HeadRunner::pool(Stream& stream, size_t width, float* rows, size_t n, float divisor,
                      float* features) const {
  if (head_.pool == Pool::kCls) {
    backend_.layer_norm(stream, head_.norm, width, rows, width, 1, features, width);
    return;
  }
  if (head_.norm) backend_.layer_norm(stream, head_.norm, width, rows, width, n, rows, width);
  backend_.mean_rows(stream, rows, n, width, divisor, features);
}

void HeadRunner::run(Stream& stream, const float* features, size_t rows, float* scratch,
                     float* logits) const {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const bool last = i + 1 == layers_.size();
    float* out = last ? logits : scratch + i % 2 * rows * hidden_;
    backend_.linear(stream, *layers_[i], features, rows, last ? Activation::kNone : Activation::kRelu, out);
    features = out;
  }
}

}  // namespace lsrt
