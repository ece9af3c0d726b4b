// Times every launch of the streams that it observes (Backend::observe). Models' code runs unchanged; without
// a profiler a launch costs one comparison. For backends whose launches return when they are done (the CPU).
#pragma once

#include <string>
#include <vector>

#include "runtime/device/stream.h"

namespace lsrt {

struct LaunchEvent {
  Launch launch;
  double start_us, duration_us;  // since the profiler was made
};

struct LaunchTotal {
  std::string name;  // linear layers by shape: "linear 1536 x 512"
  size_t count = 0;
  double total_us = 0;
  double multiply_adds = 0;  // of linear layers, else 0
};

class Profiler : public LaunchObserver {
 public:
  // Keeps at most `capacity` events, allocated here; later ones are dropped and counted.
  explicit Profiler(size_t capacity = 1 << 20);

  void before(const Launch& launch) override;
  void after(const Launch& launch) override;

  const std::vector<LaunchEvent>& events() const { return events_; }
  size_t dropped() const { return dropped_; }
  // Of events `first` and later, by name, largest total first.
  std::vector<LaunchTotal> totals(size_t first = 0) const;
  // The Trace Event Format of chrome://tracing and Perfetto.
  std::string chrome_trace() const;

 private:
  double now_us() const;

  std::vector<LaunchEvent> events_;
  size_t capacity_;
  size_t dropped_ = 0;
  double origin_us_, start_us_ = 0;
};

}  // namespace lsrt
