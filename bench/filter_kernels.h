// Benchmarks of kernels/filter, one function an entry of kernels.inc.
#pragma once

#include "bench/kernels_bench.h"

namespace {

void filter_global_filter(const Kernels* set) {  // 16 channels of grids of GFNet, as a thread takes them
  constexpr size_t kPiece = 16, kWidth = 256;
  for (size_t n : {7, 14, 28, 56}) {
    add(set, "global_filter/" + std::to_string(n), [=](benchmark::State& state) {
      const size_t frequencies = lsrt::filter_frequencies(n);
      const Buffer<float> x = random_floats(n * n * kWidth), table = random_floats(frequencies * n),
                          spectrum = random_floats(n * frequencies * 2 * kWidth);
      Buffer<float> scratch = make_buffer<float>(lsrt::filter_scratch_floats(n)),
                    y = make_buffer<float>(n * n * kWidth);
      for (auto _ : state) {
        set->filter.global_filter({n, kPiece, x.get(), kWidth, table.get(), table.get(), spectrum.get(),
                                   kWidth, scratch.get(), y.get(), kWidth});
        benchmark::DoNotOptimize(y.get());
      }
      state.SetItemsProcessed((int64_t)(n * n * kPiece * state.iterations()));
    });
  }
}

}  // namespace
