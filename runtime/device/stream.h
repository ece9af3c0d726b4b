// Queues of launches, and who watches them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/status.h"

namespace lsrt {

inline constexpr size_t kMostThreads = 1024;

// What a stream will need, filled in by the plan() of the operations that are to run on it. How a device
// divides work is known here alone.
struct StreamPlan {
  size_t threads = 1;    // of the CPU
  size_t workspace = 0;  // bytes of scratch memory for the largest launch

  // Before anything is planned: some scratch memory is one thread's own. Error::kArgument.
  Status use_threads(size_t count) {
    if (count < 1 || count > kMostThreads) {
      return fail(Error::kArgument, "threads is %zu, must be 1 to %zu", count, kMostThreads);
    }
    threads = count;
    return {};
  }

  void need(size_t bytes) { workspace = std::max(workspace, bytes); }
};

struct Launch {
  const char* name;                // "linear", "causal_attend", ...
  size_t rows;                     // that it works on
  size_t outputs = 0, inputs = 0;  // of a linear layer, else 0
};

// Is told of every launch of the streams that were created after Backend::observe().
class LaunchObserver {
 public:
  virtual ~LaunchObserver() = default;
  virtual void before(const Launch& launch) = 0;
  virtual void after(const Launch& launch) = 0;
};

// An ordered queue of launches with the threads (or device queue) and workspace that they use. One thread at
// a time.
class Stream {
 public:
  virtual ~Stream() = default;

  // Every launch holds one of these while it is made.
  class Launched {
   public:
    Launched(LaunchObserver* observer, const Launch& launch) : observer_(observer), launch_(launch) {
      if (observer_) observer_->before(launch_);
    }
    ~Launched() {
      if (observer_) observer_->after(launch_);
    }
    Launched(const Launched&) = delete;
    Launched& operator=(const Launched&) = delete;

   private:
    LaunchObserver* observer_;
    Launch launch_;
  };
  [[nodiscard]] Launched launched(const char* name, size_t rows, size_t outputs = 0,
                                  size_t inputs = 0) const {
    return Launched(observer_, {name, rows, outputs, inputs});
  }

 protected:
  explicit Stream(LaunchObserver* observer) : observer_(observer) {}

 private:
  LaunchObserver* observer_;  // or null
};

// What decides which launches a repeated sequence makes, and with which arguments: equal words, equal
// launches.
struct LaunchShape {
  const uint32_t* words;
  size_t count;
};

}  // namespace lsrt
