// Every kernel set of this machine on the shapes of Transformer-LS models. MAC/s counts multiply-adds,
// bytes/s the weights read. Names: <isa>/<kernel>/<rows>x<outputs>x<depth>.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

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

Buffer<int8_t> random_bytes(size_t n) {
  std::mt19937 random(2);
  Buffer<int8_t> x = make_buffer<int8_t>(n);
  for (size_t i = 0; i < n; ++i) x[i] = (int8_t)((int)(random() % 255) - 127);
  return x;
}

void set_rates(benchmark::State& state, double macs, double bytes) {
  const double iterations = (double)state.iterations();
  if (macs > 0) state.counters["MAC/s"] = benchmark::Counter(macs * iterations, benchmark::Counter::kIsRate);
  state.SetBytesProcessed((int64_t)(bytes * iterations));
}

// `matrices` different ones in turn: many do not fit the caches, as when one token passes through a model.
void run_gemm(benchmark::State& state, const Kernels* set, size_t rows, size_t outputs, size_t depth,
              size_t matrices) {
  const size_t panels = lsrt::panel_count(outputs), bytes = panels * lsrt::panel_bytes(depth);
  const Buffer<float> x = random_floats(rows * depth);
  const Buffer<int8_t> data = random_bytes(bytes * matrices);
  const std::vector<float> scale(panels * 16, 0.01f), bias(outputs, 1.0f);
  const std::vector<int32_t> sum(panels * 16);
  const Buffer<uint8_t> packed = make_buffer<uint8_t>(rows * set->gemm.packed_row_bytes(depth));
  std::vector<lsrt::RowScale> row_scale(rows);
  std::vector<float> out(rows * outputs);
  set->gemm.pack_rows(x.get(), depth, rows, depth, packed.get(), row_scale.data());
  size_t turn = 0;
  for (auto _ : state) {
    const lsrt::PanelWeights w = {
        data.get() + bytes * (turn++ % matrices), scale.data(), sum.data(), bias.data(), outputs, depth};
    set->gemm.gemm(packed.get(), row_scale.data(), rows, w, 0, panels, out.data(), outputs);
    benchmark::DoNotOptimize(out.data());
  }
  set_rates(state, (double)rows * (double)outputs * (double)depth, (double)bytes);
}

void run_pack(benchmark::State& state, const Kernels* set, size_t rows, size_t depth) {
  const Buffer<float> x = random_floats(rows * depth);
  const Buffer<uint8_t> packed = make_buffer<uint8_t>(rows * set->gemm.packed_row_bytes(depth));
  std::vector<lsrt::RowScale> row_scale(rows);
  for (auto _ : state) {
    set->gemm.pack_rows(x.get(), depth, rows, depth, packed.get(), row_scale.data());
    benchmark::DoNotOptimize(packed.get());
  }
  set_rates(state, 0, (double)(rows * depth * sizeof(float)));
}

void run_weighted_sum(benchmark::State& state, const Kernels* set, size_t rows, size_t d_head, size_t count) {
  const Buffer<int8_t> values = random_bytes(d_head * count);
  const std::vector<uint16_t> weight(rows * count, 5000);
  std::vector<int32_t> acc(rows * d_head);
  for (auto _ : state) {
    set->attn.weighted_sum(weight.data(), count, rows, values.get(), 16 * count, count, d_head, acc.data(),
                           d_head);
    benchmark::DoNotOptimize(acc.data());
  }
  set_rates(state, (double)rows * (double)d_head * (double)count, (double)(d_head * count));
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

void add_all(const Kernels* set) {
  static const size_t kShapes[][3] = {{256, 2048, 512}, {256, 512, 2048}, {256, 1544, 512}, {784, 1152, 384},
                                      {196, 1536, 384}, {3136, 288, 96},  {49, 3072, 768},  {6, 512, 64},
                                      {48, 192, 32},    {1, 2048, 512},   {2, 2048, 512},   {3, 2048, 512},
                                      {4, 2048, 512},   {5, 2048, 512},   {7, 2048, 512}};
  for (const auto& s : kShapes) {
    const size_t rows = s[0], outputs = s[1], depth = s[2];
    const std::string shape =
        std::to_string(rows) + "x" + std::to_string(outputs) + "x" + std::to_string(depth);
    add(set, "gemm/" + shape,
        [=](benchmark::State& state) { run_gemm(state, set, rows, outputs, depth, 1); });
    if (rows > 7) {
      add(set, "pack/" + shape, [=](benchmark::State& state) { run_pack(state, set, rows, depth); });
    }
  }
  for (size_t matrices : {1, 16, 128}) {
    add(set, "decode/1x2048x512/matrices:" + std::to_string(matrices),
        [=](benchmark::State& state) { run_gemm(state, set, 1, 2048, 512, matrices); });
  }
  for (size_t rows : {1, 2, 4, 6, 12}) {
    for (size_t d_head : {32, 64}) {
      add(set, "weighted_sum/" + std::to_string(rows) + "x" + std::to_string(d_head) + "x512",
          [=](benchmark::State& state) { run_weighted_sum(state, set, rows, d_head, 512); });
    }
  }
  static const std::vector<float> ones(2048, 1.0f);
  static std::vector<uint16_t> weight(2048);
  static std::vector<int8_t> bytes(2048);
  const auto row = [&](const std::string& name, auto run) {
    for (size_t n : {96, 512, 2048}) {
      add(set, name + "/" + std::to_string(n),
          [=](benchmark::State& state) { run_row(state, n, [=](float* x) { run(set->rows, x, n); }); });
    }
  };
  row("layer_norm", [](const lsrt::RowKernels& k, float* x, size_t n) {
    k.layer_norm(x, ones.data(), ones.data(), 1e-5f, n, x);
  });
  row("add", [](const lsrt::RowKernels& k, float* x, size_t n) { k.add(ones.data(), n, x); });
  row("gelu", [](const lsrt::RowKernels& k, float* x, size_t n) { k.gelu(x, n); });
  row("softmax", [](const lsrt::RowKernels& k, float* x, size_t n) { k.softmax(x, n); });
  row("softmax_weights", [](const lsrt::RowKernels& k, float* x, size_t n) {
    benchmark::DoNotOptimize(k.softmax_weights(x, ones.data(), n, weight.data()));
  });
  row("quantize_symmetric", [](const lsrt::RowKernels& k, float* x, size_t n) {
    benchmark::DoNotOptimize(k.quantize_symmetric(x, n, bytes.data()));
  });
}

// What the machine can read, to compare decode with.
void read_memory(benchmark::State& state) {
  const size_t n = (size_t)state.range(0) << 20;
  const Buffer<int8_t> bytes = random_bytes(n);
  const uint64_t* words = (const uint64_t*)bytes.get();
  for (auto _ : state) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n / 8; ++i) sum += words[i];
    benchmark::DoNotOptimize(sum);
  }
  state.SetBytesProcessed((int64_t)(n * state.iterations()));
}
BENCHMARK(read_memory)->Arg(1)->Arg(16)->Arg(128);

}  // namespace

int main(int argc, char** argv) {
  const Kernels* const* sets;
  const size_t count = lsrt::available_kernels(&sets);
  for (size_t i = 0; i < count; ++i) add_all(sets[i]);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
