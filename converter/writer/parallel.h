// Loops of the converter on several threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

namespace lsrt {

// f(begin, end) for ranges that make up 0 .. n, each on a thread of its own; f throws nothing. threads 0: as
// many as the machine has. Where the system gives fewer, the caller's takes their ranges.
template <typename F>
void parallel_ranges(size_t n, size_t threads, const F& f) {
  if (threads == 0) threads = std::max(1u, std::thread::hardware_concurrency());
  threads = std::max<size_t>(1, std::min(threads, n));
  std::vector<std::thread> started;
  started.reserve(threads);
  size_t done = 0;
  for (size_t i = 1; i < threads; ++i) {
    const size_t end = n / threads * i;
    try {
      started.emplace_back([&f, done, end] { f(done, end); });
    } catch (const std::exception&) {  // no thread, or no memory for one
      break;
    }
    done = end;
  }
  f(done, n);
  for (std::thread& thread : started) thread.join();
}

}  // namespace lsrt
