// Times every launch of a backend: a Backend that passes all calls on to another and keeps what each launch
// took. Models' code runs unchanged; without a profiler there is no cost. For backends whose launches return
// when they are done (the CPU).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/backend.h"

namespace lsrt {

struct LaunchEvent {
  const char* name;              // of the launch, "linear", "causal_attend", ...
  size_t rows;                   // that it worked on
  size_t outputs, inputs;        // of a linear layer, else 0
  double start_us, duration_us;  // since the profiler was made
};

struct LaunchTotal {
  std::string name;  // linear layers by shape: "linear 1536 x 512"
  size_t count = 0;
  double total_us = 0;
  double multiply_adds = 0;  // of linear layers, else 0
};

class Profiler {
 public:
  // Keeps at most `capacity` events, allocated here; later ones are dropped and counted.
  explicit Profiler(size_t capacity = 1 << 20);

  // A backend that reports to this profiler, which must outlive it.
  std::unique_ptr<Backend> wrap(std::shared_ptr<Backend> backend);

  const std::vector<LaunchEvent>& events() const { return events_; }
  size_t dropped() const { return dropped_; }
  // Of events `first` and later, by name, largest total first.
  std::vector<LaunchTotal> totals(size_t first = 0) const;
  // The Trace Event Format of chrome://tracing and Perfetto.
  std::string chrome_trace() const;

  double now_us() const;
  void add(const LaunchEvent& event);

 private:
  std::vector<LaunchEvent> events_;
  size_t capacity_;
  size_t dropped_ = 0;
  double origin_us_;
};

}  // namespace lsrt
