// What all classifiers share: options, and the head that turns pooled rows into logits.
#pragma once

#include <memory>
#include <vector>

#include "runtime/device/backend.h"
#include "runtime/device/budget.h"

namespace lsrt {

struct ClassifierOptions {
  size_t threads = 1;
  size_t max_batch = 1;  // inputs computed together
  size_t max_bytes = 0;  // all memory that create() may take (kMemory beyond it); 0: kDefaultMaxBytes
};

class HeadRunner {
 public:
  // Both must outlive this object.
  HeadRunner(const ClassifierHead& head, Backend& backend);

  size_t classes() const { return head_.layers.back().outputs; }
  size_t inputs() const { return head_.layers.front().inputs; }
  void plan(size_t rows, StreamPlan* plan) const;
  size_t scratch_floats(size_t rows) const;  // of run()

  // Prepares the layers on the backend.
  Status prepare();

  // features[width] of rows[n, width], which are overwritten: the first row, or the sum of all divided by
  // `divisor`; after the head's norm, if it has one.
  void pool(Stream& stream, size_t width, Dev<float> rows, size_t n, float divisor,
            Dev<float> features) const;

  // logits[rows, classes] of features[rows, inputs]: the linear layers, ReLU between.
  void run(Stream& stream, Dev<const float> features, size_t rows, Dev<float> scratch,
           Dev<float> logits) const;

 private:
  const ClassifierHead& head_;
  Backend& backend_;
  DeviceNorm norm_;
  std::vector<const Linear*> layers_;
  size_t hidden_ = 0;  // widest row between layers
};

}  // namespace lsrt
