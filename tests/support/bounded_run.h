// Runs whatever loads, within bounds: what a test of hostile models, or a fuzzer, does with one.
#pragma once

#include <cmath>
#include <cstring>

#include "tests/support/run_model.h"

namespace lsrt_test {

// Of one run: multiply-adds, and bytes that the plan asks for.
constexpr double kMostWork = 3e5, kMostBytes = 16 << 20;

// Memory that a run would take; refused options are what run_model() finds, too.
inline Result<double> planned_bytes(const std::shared_ptr<const Model>& shared, const RunOptions& options) {
  const Model& model = *shared;
  LSRT_ASSIGN(const std::unique_ptr<Backend> backend, Backend::create({"cpu", options.isa}, shared));
  if (model.family == Family::kLm) {
    CausalOptions causal;
    causal.threads = options.threads, causal.max_rows = options.max_batch;
    LSRT_ASSIGN(const CausalMemory memory, CausalNetwork::plan(*backend, causal));
    return static_cast<double>(memory.state_bytes) + memory.scratch_bytes + memory.positions_bytes;
  }
  if (model.family == Family::kSlide) {
    SlideOptions slide;
    slide.threads = options.threads;
    slide.max_tiles = static_cast<size_t>(kMostTiles);
    LSRT_ASSIGN(const size_t bytes, SlideNetwork::plan(*backend, slide));
    return static_cast<double>(bytes);
  }
  ClassifierOptions classifier;
  classifier.threads = options.threads;
  if (model.family == Family::kEncoder) {
    LSRT_ASSIGN(const size_t bytes, EncoderNetwork::plan(*backend, classifier));
    return static_cast<double>(bytes);
  }
  LSRT_ASSIGN(const size_t bytes, VisionNetwork::plan(*backend, classifier));
  return static_cast<double>(bytes);
}

// Whether one row is more work than a bounded run has.
inline bool too_large(const Model& model) {
  const double pixels = static_cast<double>(model.image.size) * model.image.size;
  return work_per_row(model) * std::max(pixels / 16, 1.0) > 30 * kMostWork;
}

// NaN is what a model with such weights may give, whatever its sign and payload.
inline bool same_results(const std::vector<float>& a, const std::vector<float>& b) {
  bool same = a.size() == b.size();
  for (size_t i = 0; same && i < a.size(); ++i) {
    same = (std::isnan(a[i]) && std::isnan(b[i])) || std::memcmp(&a[i], &b[i], sizeof a[i]) == 0;
  }
  return same;
}

}  // namespace lsrt_test
