// Threads that share the items of a loop. The caller works too, and waits for items, not for threads: a
// worker that the system has taken off its core costs nothing unless it holds an item. (pthreadpool, which
// XNNPACK brings, waits for every worker at every loop; decoding has dozens of loops a token, and on a busy
// machine each then costs a time slice.)
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace lsrt {

class ThreadPool {
 public:
  // threads - 1 workers are started; fewer if the system refuses (see threads()).
  explicit ThreadPool(size_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  size_t threads() const { return workers_.size() + 1; }

  // Calls work(context, i, thread) for all i < n, thread < threads(); returns when all are done. One caller
  // at a time.
  using Work = void (*)(const void* context, size_t i, size_t thread);
  void run(size_t n, Work work, const void* context);

 private:
  // The loop in progress and its next item, in one word, so that an item is claimed only from the loop that
  // the claimer read.
  static constexpr int kItemBits = 32;
  static constexpr size_t kMostItems = UINT32_MAX - 1;
  static uint64_t loop_of(uint64_t ticket) { return ticket >> kItemBits; }
  static size_t item_of(uint64_t ticket) { return static_cast<uint32_t>(ticket); }

  // Claims and does items until none is left; returns the ticket that says so.
  uint64_t work_off(size_t thread);
  void worker(size_t thread);

  std::atomic<uint64_t> ticket_{0};
  std::atomic<size_t> items_{0};  // of the loop in progress
  std::atomic<Work> work_{nullptr};
  std::atomic<const void*> context_{nullptr};
  std::atomic<size_t> done_{0};  // finished items of the loop in progress
  std::atomic<size_t> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
};

}  // namespace lsrt
