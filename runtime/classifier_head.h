// What all classifiers share: options, and the head that turns pooled rows into logits.
#pragma once

#include <memory>
#include <vector>

#include "runtime/backend.h"

namespace lsrt {

struct ClassifierOptions {
  size_t threads = 1;
  size_t max_batch = 1;  // inputs computed together
};

class HeadRunner {
 public:
  // Prepares the layers on the backend; both must outlive this object.
  static Result<std::unique_ptr<HeadRunner>> create(const ClassifierHead& head, Backend& backend);

  size_t classes() const { return layers_.back()->outputs; }
  size_t inputs() const { return layers_.front()->inputs; }
  size_t workspace_bytes(size_t rows, size_t threads) const;
  size_t scratch_floats(size_t rows) const;  // of run()

  // features[width] of rows[n, width], which are overwritten: the first row, or the sum of all divided by
  // `divisor`; after the head's norm, if it has one.
  void pool(Stream& stream, size_t width, float* rows, size_t n, float divisor, float* features) const;

  // logits[rows, classes] of features[rows, inputs]: the linear layers, ReLU between.
  void run(Stream& stream, const float* features, size_t rows, float* scratch, float* logits) const;

 private:
  HeadRunner(const ClassifierHead& head, Backend& backend) : head_(head), backend_(backend) {}

  const ClassifierHead& head_;
  Backend& backend_;
  std::vector<const Linear*> layers_;
  size_t hidden_ = 0;  // widest row between layers
};

}  // namespace lsrt
