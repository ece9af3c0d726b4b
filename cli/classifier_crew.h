// Many inputs for one model: several classifiers, each with inputs of its own, read and run side by side.
// That is faster than all threads on one input after the other, and gives the same results, in the same
// order.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "cli/classify_inputs.h"
#include "cli/options.h"

namespace lsrt::tool {

class ClassifierCrew {
 public:
  // threads: of all classifiers together. inputs: how many there will be; a single one gets all threads.
  static Result<ClassifierCrew> create(const lsrt_model* model, uint32_t threads, size_t inputs);

  using Read = std::function<Result<Input>(size_t i)>;  // called on several threads at once
  // The logits of an input, or why there are none. Called for one input at a time, in their order; an error
  // ends the work.
  using Done = std::function<Status(size_t i, const Result<std::vector<float>>& logits)>;

  // Inputs 0 .. count - 1. Ctrl-C ends it early.
  Status run(size_t count, const Read& read, const Done& done);

  size_t size() const { return classifiers_.size(); }
  double network_ms() const { return network_ms_; }  // of all inputs so far, without reading them
  double seconds() const { return seconds_; }        // of all run()s, with reading

 private:
  ClassifierCrew() = default;

  size_t classes_ = 0;
  std::vector<ClassifierHandle> classifiers_;
  double network_ms_ = 0, seconds_ = 0;
};

}  // namespace lsrt::tool
