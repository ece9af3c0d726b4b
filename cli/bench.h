// What `lsrt bench` measures, by kind of model.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cli/options.h"
#include "cli/output.h"
#include "runtime/device/backend.h"
#include "runtime/device/profiler.h"
#include "runtime/model/model.h"

namespace lsrt::tool {

struct BenchOptions {
  EngineOptions engine;
  StreamOptions stream;
  std::string arch;
  std::vector<uint64_t> depths{0};
  uint64_t prompt = 512, generate = 32;
  uint32_t repetitions = 3;
  bool json = false;
  bool profile = false;
  std::string trace;  // file for a Chrome trace; empty: none
};

struct BenchRow {
  std::string test;  // "prompt", "decode", "image", "document", "slide"
  uint64_t depth = 0, n = 1;
  std::vector<double> ms;            // of each repetition
  std::vector<LaunchTotal> profile;  // of the last repetition

  double min_ms() const;
  double median_ms() const;
  double per_second() const { return static_cast<double>(n) / median_ms() * 1e3; }
};

struct Bench {
  explicit Bench(const BenchOptions& o) : options(o) {}

  const BenchOptions& options;
  std::unique_ptr<Profiler> profiler;  // with --profile or --trace; the backend's streams report to it
  std::shared_ptr<const Model> model;
  std::shared_ptr<Backend> backend;
  Clock clock;  // since the start of loading
  double load_ms = 0, first_result_ms = 0;
  size_t state_bytes = 0;  // of a session; 0 for classifiers
  std::vector<BenchRow> rows;
};

Status bench_text(Bench* bench);        // lm
Status bench_classifier(Bench* bench);  // vil, encoder, slide

// Adds the time of work() -> Status to the row. profiler may be null.
template <typename F>
Status timed(BenchRow* row, const Profiler* profiler, const F& work) {
  const size_t first = profiler ? profiler->events().size() : 0;
  Clock clock;
  LSRT_TRY(work());
  row->ms.push_back(clock.ms());
  if (profiler) row->profile = profiler->totals(first);
  return Status();
}

// The same numbers in every run; what they are does not matter for speed.
class BenchRandom {
 public:
  uint32_t below(uint32_t end) {
    state_ = state_ * 6364136223846793005 + 1442695040888963407;
    return static_cast<uint32_t>((state_ >> 33) % end);
  }

 private:
  uint64_t state_ = 1;
};

}  // namespace lsrt::tool
