// Every kernel set of this machine on the shapes of Transformer-LS models. MAC/s counts multiply-adds,
// bytes/s the weights read. Names: <isa>/<kernel>/<rows>x<outputs>x<depth>.
#include "bench/kernels_bench.h"

#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "bench/filter_kernels.h"
#include "bench/scan_kernels.h"

namespace {

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
    set->attn.weighted_sum(weight.data(), count, rows, values.get(), count, d_head, acc.data(), d_head);
    benchmark::DoNotOptimize(acc.data());
  }
  set_rates(state, (double)rows * (double)d_head * (double)count, (double)(d_head * count));
}

void run_weighted_rows(benchmark::State& state, const Kernels* set, size_t n, size_t d, size_t rows) {
  const Buffer<float> weight = random_floats(rows * n), x = random_floats(rows * d);
  std::vector<float> out(n * d);
  for (auto _ : state) {
    set->attn.weighted_rows(weight.get(), n, x.get(), d, rows, n, d, out.data(), d);
    benchmark::DoNotOptimize(out.data());
  }
  set_rates(state, (double)rows * (double)n * (double)d, (double)(rows * d * sizeof(float)));
}

// ---- one function an entry of kernels.inc: registers its benchmarks ----

constexpr size_t kShapes[][3] = {{256, 2048, 512}, {256, 512, 2048}, {256, 1544, 512}, {784, 1152, 384},
                                 {196, 1536, 384}, {3136, 288, 96},  {49, 3072, 768},  {6, 512, 64},
                                 {48, 192, 32},    {1, 2048, 512},   {2, 2048, 512},   {3, 2048, 512},
                                 {4, 2048, 512},   {5, 2048, 512},   {7, 2048, 512}};

std::string product(size_t a, size_t b, size_t c) {
  return std::to_string(a) + "x" + std::to_string(b) + "x" + std::to_string(c);
}

void gemm_packed_row_bytes(const Kernels*) {}  // a product

void gemm_pack_rows(const Kernels* set) {
  for (const auto& s : kShapes) {
    const size_t rows = s[0], depth = s[2];
    if (rows <= 7) continue;
    add(set, "pack/" + product(rows, s[1], depth),
        [=](benchmark::State& state) { run_pack(state, set, rows, depth); });
  }
}

void gemm_gemm(const Kernels* set) {
  for (const auto& s : kShapes) {
    const size_t rows = s[0], outputs = s[1], depth = s[2];
    add(set, "gemm/" + product(rows, outputs, depth),
        [=](benchmark::State& state) { run_gemm(state, set, rows, outputs, depth, 1); });
  }
  for (size_t matrices : {1, 16, 128}) {
    add(set, "decode/1x2048x512/matrices:" + std::to_string(matrices),
        [=](benchmark::State& state) { run_gemm(state, set, 1, 2048, 512, matrices); });
  }
}

// run(kernels, x, n) on n floats.
template <typename Run>
void add_row(const Kernels* set, const std::string& name, Run run) {
  for (size_t n : {96, 512, 2048}) {
    add(set, name + "/" + std::to_string(n),
        [=](benchmark::State& state) { run_row(state, n, [=](float* x) { run(set->rows, x, n); }); });
  }
}

constexpr size_t kLongest = 2048;  // of add_row
const std::vector<float> ones(kLongest, 1.0f);
std::vector<float> scratch(kLongest);
std::vector<uint16_t> weights(kLongest);
std::vector<int8_t> bytes(kLongest);

void rows_layer_norm(const Kernels* set) {
  add_row(set, "layer_norm/4x", [](const lsrt::RowKernels& k, float* x, size_t n) {
    k.layer_norm(x, n / 4, 4, ones.data(), ones.data(), 1e-5f, n / 4, x, n / 4);
  });
}

void rows_rms_norm(const Kernels* set) {
  add_row(set, "rms_norm/4x", [](const lsrt::RowKernels& k, float* x, size_t n) {
    k.rms_norm(x, n / 4, 4, ones.data(), 1e-5f, n / 4, x, n / 4);
  });
}

void rows_add(const Kernels* set) {
  add_row(set, "add", [](const lsrt::RowKernels& k, float* x, size_t n) { k.add(ones.data(), n, x); });
}

void rows_add_runs(const Kernels* set) {  // the biases of windows of 15 x 15: runs of 15
  add_row(set, "add_runs", [](const lsrt::RowKernels& k, float* x, size_t n) {
    static const int32_t offset = 0;
    static const std::vector<lsrt::AddRun> runs = [] {
      std::vector<lsrt::AddRun> all;
      for (uint32_t i = 0; i + 15 <= kLongest; i += 15) all.push_back({0, i, i, 15});
      return all;
    }();
    k.add_runs(ones.data(), &offset, runs.data(), n / 15, x);
  });
}

void rows_gelu(const Kernels* set) {
  add_row(set, "gelu", [](const lsrt::RowKernels& k, float* x, size_t n) { k.gelu(x, n); });
}

void rows_relu(const Kernels* set) {
  add_row(set, "relu", [](const lsrt::RowKernels& k, float* x, size_t n) { k.relu(x, n); });
}

void rows_dot(const Kernels* set) {
  add_row(set, "dot", [](const lsrt::RowKernels& k, float* x, size_t n) {
    benchmark::DoNotOptimize(k.dot(x, ones.data(), n));
  });
}

void rows_add_scaled(const Kernels* set) {
  add_row(set, "add_scaled",
          [](const lsrt::RowKernels& k, float* x, size_t n) { k.add_scaled(0.5f, ones.data(), n, x); });
}

void rows_softmax(const Kernels* set) {
  add_row(set, "softmax", [](const lsrt::RowKernels& k, float* x, size_t n) { k.softmax(x, n); });
}

void rows_softmax_weights(const Kernels* set) {
  add_row(set, "softmax_weights/2x", [](const lsrt::RowKernels& k, float* x, size_t n) {
    float scale[2];
    k.softmax_weights(x, ones.data(), 2, n / 2, weights.data(), scale);
    benchmark::DoNotOptimize(scale);
  });
}

void rows_quantize_symmetric(const Kernels* set) {
  add_row(set, "quantize_symmetric/heads", [](const lsrt::RowKernels& k, float* x, size_t n) {  // of 32
    float scale[kLongest / 32];
    int32_t sum[kLongest / 32];
    k.quantize_symmetric(x, n / 32, 32, bytes.data(), 32, scale, sum);
    benchmark::DoNotOptimize(scale);
  });
}

void rows_exp_columns(const Kernels* set) {  // 32 columns, as of the summaries of a chunk
  add_row(set, "exp_columns", [](const lsrt::RowKernels& k, float* x, size_t n) {
    float ends[2][32];
    k.exp_columns(x, 32, n / 32, 32, scratch.data(), 32, ends[0], ends[1]);
    benchmark::DoNotOptimize(ends);
  });
}

void attn_weighted_sum(const Kernels* set) {
  for (size_t rows : {1, 2, 4, 6, 12}) {
    for (size_t d_head : {32, 64}) {
      add(set, "weighted_sum/" + product(rows, d_head, 512),
          [=](benchmark::State& state) { run_weighted_sum(state, set, rows, d_head, 512); });
    }
  }
}

void attn_weighted_rows(const Kernels* set) {
  for (size_t n : {1, 8}) {
    for (size_t d : {32, 64}) {
      add(set, "weighted_rows/" + product(n, d, 256),
          [=](benchmark::State& state) { run_weighted_rows(state, set, n, d, 256); });
    }
  }
}

// What the machine can read, to compare decode with: sums in registers that do not wait for each other.
void read_memory(benchmark::State& state) {
  const size_t n = (size_t)state.range(0) << 20;
  const Buffer<int8_t> bytes = random_bytes(n);
  using Words [[gnu::vector_size(16)]] = uint64_t;
  const Words* words = (const Words*)bytes.get();
  for (auto _ : state) {
    Words a = {}, b = {}, c = {}, d = {};
    for (size_t i = 0; i < n / sizeof a; i += 4)
      a += words[i], b += words[i + 1], c += words[i + 2], d += words[i + 3];
    Words sum = a + b + c + d;
    benchmark::DoNotOptimize(sum);
  }
  state.SetBytesProcessed((int64_t)(n * state.iterations()));
}
BENCHMARK(read_memory)->Arg(1)->Arg(16)->Arg(57)->Arg(128);

}  // namespace

int main(int argc, char** argv) {
  const Kernels* const* sets;
  const size_t count = lsrt::available_kernels(&sets);
  for (size_t i = 0; i < count; ++i) {
#define LSRT_KERNEL(family, entry) family##_##entry(sets[i]);
#include "kernels/kernels.inc"
#undef LSRT_KERNEL
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
