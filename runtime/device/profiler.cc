#include "runtime/device/profiler.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>

namespace lsrt {
namespace {

double clock_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Profiler::Profiler(size_t capacity) : capacity_(capacity), origin_us_(clock_us()) {
  events_.reserve(capacity);
}

void Profiler::before(const Launch&) { start_us_ = now_us(); }

void Profiler::after(const Launch& launch) {
  if (events_.size() < capacity_) {
    events_.push_back({launch, start_us_, now_us() - start_us_});
  } else {
    ++dropped_;
  }
}

double Profiler::now_us() const { return clock_us() - origin_us_; }

std::vector<LaunchTotal> Profiler::totals(size_t first) const {
  std::map<std::string, LaunchTotal> by_name;
  for (size_t i = first; i < events_.size(); ++i) {
    const LaunchEvent& event = events_[i];
    const Launch& launch = event.launch;
    std::string name = launch.name;
    if (launch.outputs) name += " " + std::to_string(launch.outputs) + " x " + std::to_string(launch.inputs);
    LaunchTotal& total = by_name[name];
    total.name = name;
    total.count += 1;
    total.total_us += event.duration_us;
    total.multiply_adds +=
        static_cast<double>(launch.rows) * static_cast<double>(launch.outputs * launch.inputs);
  }
  std::vector<LaunchTotal> totals;
  for (auto& entry : by_name) totals.push_back(entry.second);
  std::sort(totals.begin(), totals.end(),
            [](const LaunchTotal& a, const LaunchTotal& b) { return a.total_us > b.total_us; });
  return totals;
}

std::string Profiler::chrome_trace() const {
  std::string text = "{\"traceEvents\":[";
  char line[256];
  for (size_t i = 0; i < events_.size(); ++i) {
    const LaunchEvent& e = events_[i];
    std::snprintf(line, sizeof line,
                  "%s\n{\"name\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":%.3f,\"dur\":%.3f,"
                  "\"args\":{\"rows\":%zu,\"outputs\":%zu,\"inputs\":%zu}}",
                  i ? "," : "", e.launch.name, e.start_us, e.duration_us, e.launch.rows, e.launch.outputs,
                  e.launch.inputs);
    text += line;
  }
  return text + "\n]}\n";
}

}  // namespace lsrt
