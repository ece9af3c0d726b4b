#include "runtime/device/cpu/thread_pool.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <new>

using lsrt::ThreadPool;

// Allocations that succeed before one of this thread fails; negative: all succeed.
static thread_local int allocations_left = -1;
[[gnu::noinline]] void* operator new(size_t n) {
  if (allocations_left == 0) throw std::bad_alloc();
  if (allocations_left > 0) --allocations_left;
  void* memory = std::malloc(n);
  if (!memory) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace {

struct Counts {
  std::vector<std::atomic<int>> of_item;
  std::atomic<size_t> largest_thread{0};
  explicit Counts(size_t n) : of_item(n) {}
};

void count(const void* context, size_t i, size_t thread) {
  auto* counts = static_cast<Counts*>(const_cast<void*>(context));
  counts->of_item[i].fetch_add(1);
  size_t largest = counts->largest_thread;
  while (largest < thread && !counts->largest_thread.compare_exchange_weak(largest, thread)) {
  }
}

}  // namespace

TEST_CASE("every item is done once, by a thread in range") {
  for (size_t threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (size_t n : {0, 1, 2, 3, 7, 64, 1000}) {
      for (int round = 0; round < 200; ++round) {
        Counts counts(n);
        pool.run(n, count, &counts);
        size_t wrong = 0;
        for (auto& c : counts.of_item) wrong += c != 1;
        REQUIRE(wrong == 0);
        REQUIRE(counts.largest_thread < threads);
      }
    }
  }
}

TEST_CASE("loops that follow each other at once do not mix") {
  ThreadPool pool(4);
  // Plain integers: each loop reads what the one before it wrote, on whatever thread.
  std::vector<size_t> values(5, 0);
  auto add = [](const void* context, size_t i, size_t) {
    (*static_cast<std::vector<size_t>*>(const_cast<void*>(context)))[i] += 1;
  };
  const size_t loops = 20000;
  for (size_t k = 0; k < loops; ++k) pool.run(2 + k % 4, add, &values);
  CHECK(values[0] == loops);
  CHECK(values[4] == loops / 4);
}

TEST_CASE("workers that sleep are woken, and a pool may end while they sleep") {
  for (int round = 0; round < 3; ++round) {
    ThreadPool pool(3);
    for (int k = 0; k < 3; ++k) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      Counts counts(100);
      pool.run(100, count, &counts);
      size_t sum = 0;
      for (auto& c : counts.of_item) sum += c;
      CHECK(sum == 100);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

TEST_CASE("without memory for a thread the pool has fewer of them") {
  for (int succeed = 1; succeed < 8; ++succeed) {
    allocations_left = succeed;
    size_t threads = 0;
    {
      ThreadPool pool(8);
      allocations_left = -1;
      threads = pool.threads();
      Counts counts(100);
      pool.run(100, count, &counts);
      size_t wrong = 0;
      for (auto& c : counts.of_item) wrong += c != 1;
      CHECK(wrong == 0);
    }
    CHECK(threads < 8);
    CHECK(threads >= 1);
  }
}
