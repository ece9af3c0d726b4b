// What the benchmarks of kernels share: buffers, and how one is registered.
#pragma once

#include <benchmark/benchmark.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>

#include "kernels/dispatch.h"

namespace {

using lsrt::Kernels;

struct Free {
  void operator()(void* p) const { free(p); }
};
template <typename T>
using Buffer = std::unique_ptr<T[], Free>;

// Large ones in huge pages, as the runtime's memory is: in small ones the same bytes are read at half the
// speed.
template <typename T>
Buffer<T> make_buffer(size_t n) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t align = n * sizeof(T) >= kHugePage ? kHugePage : 64;
  const size_t bytes = lsrt::round_up(n * sizeof(T) + 64, align);
  void* memory = aligned_alloc(align, bytes);
#ifdef MADV_HUGEPAGE
  if (align == kHugePage && memory) (void)madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return Buffer<T>((T*)memory);
}

Buffer<float> random_floats(size_t n) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  Buffer<float> x = make_buffer<float>(n);
  for (size_t i = 0; i < n; ++i) x[i] = normal(random);
  return x;
}

// One row operation on n floats, restored before each run.
template <typename Run>
void run_row(benchmark::State& state, size_t n, Run run) {
  const Buffer<float> x = random_floats(n);
  Buffer<float> y = make_buffer<float>(n);
  for (auto _ : state) {
    std::copy(x.get(), x.get() + n, y.get());
    run(y.get());
    benchmark::DoNotOptimize(y.get());
  }
  state.SetItemsProcessed((int64_t)(n * state.iterations()));
}

template <typename Run>
void add(const Kernels* set, const std::string& name, Run run) {
  benchmark::RegisterBenchmark((std::string(set->isa) + "/" + name).c_str(), run);
}

}  // namespace
