// Benchmarks of kernels/scan, one function an entry of kernels.inc.
#pragma once

#include <vector>

#include "bench/kernels_bench.h"

namespace {

// A piece of channels of Mamba 130m, as a thread takes it: rows 1536 and 3072 floats apart.
constexpr size_t kChannels = 128, kInner = 1536;

void scan_convolve(const Kernels* set) {
  for (size_t rows : {1, 256}) {
    add(set, "convolve/" + std::to_string(rows), [=](benchmark::State& state) {
      const Buffer<float> x = random_floats(rows * 2 * kInner), weight = random_floats(4 * kInner);
      Buffer<float> history = random_floats(3 * kInner), y = make_buffer<float>(rows * kInner);
      for (auto _ : state) {
        set->scan.convolve({rows, kChannels, 4, x.get(), 2 * kInner, weight.get(), kInner, weight.get(),
                            history.get(), kInner, y.get(), kInner});
        benchmark::DoNotOptimize(y.get());
      }
      state.SetItemsProcessed((int64_t)(rows * kChannels * state.iterations()));
    });
  }
}

void scan_selective_scan(const Kernels* set) {  // items: states
  constexpr size_t kStates = 16, kParameters = 80;
  for (size_t rows : {1, 256}) {
    add(set, "selective_scan/" + std::to_string(rows), [=](benchmark::State& state) {
      const Buffer<float> x = random_floats(rows * 2 * kInner),
                          parameters = random_floats(rows * kParameters);
      const std::vector<float> a(kStates * kInner, -1.0f), d(kInner, 1.0f);
      std::vector<float> h(kStates * kInner);
      Buffer<float> y = make_buffer<float>(rows * kInner);
      for (auto _ : state) {
        set->scan.selective_scan({rows, kChannels, kStates, x.get(), kInner, x.get(), kInner, x.get(),
                                  2 * kInner, parameters.get() + 48, parameters.get() + 64, kParameters,
                                  a.data(), d.data(), h.data(), kInner, y.get(), kInner});
        benchmark::DoNotOptimize(y.get());
      }
      state.SetItemsProcessed((int64_t)(rows * kChannels * kStates * state.iterations()));
    });
  }
}

void scan_dual_steps(const Kernels* set) {
  add(set, "dual_steps/24", [=](benchmark::State& state) {
    const Buffer<float> x = random_floats(24);
    std::vector<float> dt(24), decay(24);
    for (auto _ : state) {
      set->scan.dual_steps({1, 24, x.get(), 24, x.get(), x.get(), 0, 1e30f, dt.data(), decay.data()});
      benchmark::DoNotOptimize(decay.data());
    }
  });
}

void scan_dual_scan(const Kernels* set) {  // items: states; one head of Mamba-2
  constexpr size_t kStates = 128, kHead = 64, kStride = kInner + 2 * kStates;
  for (size_t rows : {1, 256}) {
    add(set, "dual_scan/" + std::to_string(rows), [=](benchmark::State& state) {
      const Buffer<float> x = random_floats(rows * kStride);
      const std::vector<float> dt(rows, 0.1f), decay(rows, 0.9f);
      std::vector<float> h(kHead * kStates), y(rows * kHead);
      for (auto _ : state) {
        set->scan.dual_scan({rows, kHead, kStates, x.get(), kStride, dt.data(), decay.data(), 1,
                             x.get() + kInner, x.get() + kInner + kStates, kStride, dt.data(), false,
                             h.data(), y.data(), kHead});
        benchmark::DoNotOptimize(y.data());
      }
      state.SetItemsProcessed((int64_t)(rows * kHead * kStates * state.iterations()));
    });
  }
}

void scan_gate(const Kernels* set) {
  for (size_t n : {96, 512, 2048}) {
    add(set, "gate/" + std::to_string(n), [=](benchmark::State& state) {
      const Buffer<float> z = random_floats(n);
      run_row(state, n, [&](float* y) { set->scan.gate(z.get(), n, y); });
    });
  }
}

}  // namespace
