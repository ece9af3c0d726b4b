// What the benchmarks of kernels share: buffers, and how one is registered.
#pragma once

#include <benchmark/benchmark.h>
#include <stdlib.h>

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

template <typename T>
Buffer<T> make_buffer(size_t n) {
  return Buffer<T>((T*)aligned_alloc(64, lsrt::round_up(n * sizeof(T) + 64, 64)));
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
