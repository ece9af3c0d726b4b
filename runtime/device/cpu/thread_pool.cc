#include "runtime/device/cpu/thread_pool.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lsrt {
namespace {

// Looks at the clock of a token: loops follow each other within microseconds, so a worker looks out for the
// next one for a while, then lets others run, then sleeps.
constexpr int kSpins = 4000;
constexpr int kYields = 200;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(size_t threads) {
  workers_.reserve(threads - 1);
  for (size_t i = 1; i < threads; ++i) {
    try {
      workers_.emplace_back([this, i] { worker(i); });
    } catch (...) {  // no thread, or no memory for one
      return;        // results do not depend on the number of threads
    }
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

uint64_t ThreadPool::work_off(size_t thread) {
  uint64_t ticket = ticket_.load();
  for (;;) {
    // A successful exchange proves that the loop was still in progress when these were read: the next loop
    // cannot begin before the claimed item is done.
    const Work work = work_.load(std::memory_order_relaxed);
    const void* context = context_.load(std::memory_order_relaxed);
    const size_t items = items_.load(std::memory_order_relaxed), item = item_of(ticket);
    if (item >= items) {
      const uint64_t again = ticket_.load();
      if (again == ticket) return ticket;
      ticket = again;
      continue;
    }
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1)) continue;
    work(context, item, thread);
    done_.fetch_add(1);
    ticket = ticket_.load();
  }
}

void ThreadPool::run(size_t n, Work work, const void* context) {
  if (n > kMostItems) {  // than a ticket has bits for
    struct Part {
      Work work;
      const void* context;
      size_t first;
    };
    const auto run_part = [](const void* part_of, size_t i, size_t thread) {
      const Part& part = *static_cast<const Part*>(part_of);
      part.work(part.context, part.first + i, thread);
    };
    for (size_t first = 0; first < n; first += kMostItems) {
      const Part part{work, context, first};
      run(std::min(kMostItems, n - first), run_part, &part);
    }
    return;
  }
  if (workers_.empty() || n <= 1) {
    for (size_t i = 0; i < n; ++i) work(context, i, 0);
    return;
  }
  // No item can be claimed between loops: the old ticket is past the old number of items, and a worker that
  // reads the new number with the old ticket fails to exchange it.
  const uint64_t next = (loop_of(ticket_.load()) + 1) << kItemBits;
  ticket_.store(next | UINT32_MAX);  // closes the old loop for claimers that read what follows
  done_.store(0);
  work_.store(work);
  context_.store(context);
  items_.store(n);
  ticket_.store(next);
  if (sleepers_.load() > 0) {
    { std::lock_guard<std::mutex> lock(mutex_); }
    wake_.notify_all();
  }
  work_off(0);
  for (int spins = 0; done_.load() != n; ++spins) {
    if (spins < kSpins) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::worker(size_t thread) {
  uint64_t seen = ticket_.load();
  while (!stop_.load()) {
    seen = work_off(thread);
    for (int turns = 0; ticket_.load() == seen && !stop_.load(); ++turns) {
      if (turns < kSpins) {
        pause();
      } else if (turns < kSpins + kYields) {
        std::this_thread::yield();
      } else {
        std::unique_lock<std::mutex> lock(mutex_);
        sleepers_.fetch_add(1);
        wake_.wait(lock, [&] { return ticket_.load() != seen || stop_.load(); });
        sleepers_.fetch_sub(1);
      }
    }
  }
}

}  // namespace lsrt
