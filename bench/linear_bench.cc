// Int8 linear layers of Transformer-LS models, float rows in and out, on one thread: every kernel set of this
// machine beside XNNPACK's dynamically quantized layer (qd8-f32-qc8w) on the same shapes and values. MAC/s
// counts multiply-adds, bytes/s the weights. Names: <isa or xnnpack>/<rows>x<outputs>x<depth>/<matrices that
// take turns>: many do not fit the caches, as when one token passes through a model.
#include <benchmark/benchmark.h>
#include <xnnpack.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/dispatch.h"
#include "runtime/pages.h"

namespace {

using lsrt::Kernels;

struct Shape {
  size_t rows, outputs, depth, matrices;
};
constexpr Shape kShapes[] = {
    {256, 2048, 512, 1}, {256, 512, 2048, 1}, {256, 1544, 512, 1}, {256, 512, 512, 1},
    {197, 1152, 384, 1}, {197, 1536, 384, 1}, {197, 384, 1536, 1}, {257, 768, 192, 1},
    {257, 384, 96, 1},   {1, 2048, 512, 1},   {1, 2048, 512, 32},  {1, 512, 2048, 32},
};

// Weights of all matrices as rows, float rows, and room for the outputs.
struct Problem {
  Shape shape;
  std::vector<int8_t> weights;  // [matrices, outputs, depth]
  std::vector<float> x, scale, bias, out;

  explicit Problem(const Shape& s)
      : shape(s),
        weights(s.matrices * s.outputs * s.depth),
        x(s.rows * s.depth + 64),
        scale(s.outputs, 0.01f),
        bias(s.outputs, 1.0f),
        out(s.rows * s.outputs) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (int8_t& w : weights) w = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    for (float& v : x) v = normal(random);
  }
  const int8_t* matrix(size_t i) const { return weights.data() + i * shape.outputs * shape.depth; }
};

void set_rates(benchmark::State& state, const Shape& s) {
  const double runs = static_cast<double>(state.iterations()),
               macs = static_cast<double>(s.rows * s.outputs * s.depth);
  state.counters["MAC/s"] = benchmark::Counter(macs * runs, benchmark::Counter::kIsRate);
  state.SetBytesProcessed(static_cast<int64_t>(runs * static_cast<double>(s.outputs * s.depth)));
}

void run_lsrt(benchmark::State& state, const Kernels* set, const Shape& shape) {
  Problem p(shape);
  const size_t panels = lsrt::panel_count(shape.outputs), bytes = panels * lsrt::panel_bytes(shape.depth);
  lsrt::Pages pages(bytes * shape.matrices);
  auto* data = reinterpret_cast<int8_t*>(pages.data());
  std::vector<float> scale(panels * lsrt::kPanelOutputs);
  std::copy(p.scale.begin(), p.scale.end(), scale.begin());
  std::vector<int32_t> sum(shape.matrices * panels * lsrt::kPanelOutputs);
  for (size_t m = 0; m < shape.matrices; ++m) {
    for (size_t n = 0; n < shape.outputs; ++n) {
      for (size_t k = 0; k < shape.depth; ++k) {
        const int8_t w = p.matrix(m)[n * shape.depth + k];
        data[m * bytes + n / 16 * lsrt::panel_bytes(shape.depth) + (k / 4 * 16 + n % 16) * 4 + k % 4] = w;
        sum[m * panels * 16 + n] += w;
      }
    }
  }
  const lsrt::Pages packed(shape.rows * set->gemm.packed_row_bytes(shape.depth));
  std::vector<lsrt::RowScale> row_scale(shape.rows);
  size_t turn = 0;
  for (auto _ : state) {
    const size_t m = turn++ % shape.matrices;
    const lsrt::PanelWeights weights = {data + m * bytes, scale.data(),  sum.data() + m * panels * 16,
                                        p.bias.data(),    shape.outputs, shape.depth};
    // As the runtime does: blocks of rows against shares of the weights that stay in the cache.
    set->gemm.pack_rows(p.x.data(), shape.depth, shape.rows, shape.depth, packed.data(), row_scale.data());
    const size_t share = std::max<size_t>(1, (size_t{64} << 10) / lsrt::panel_bytes(shape.depth));
    for (size_t panel = 0; panel < panels; panel += share) {
      for (size_t row = 0; row < shape.rows; row += 48) {
        set->gemm.gemm(packed.data() + row * set->gemm.packed_row_bytes(shape.depth), row_scale.data() + row,
                       std::min<size_t>(48, shape.rows - row), weights, panel,
                       std::min(panels, panel + share), p.out.data() + row * shape.outputs + panel * 16,
                       shape.outputs);
      }
    }
    benchmark::DoNotOptimize(p.out.data());
  }
  set_rates(state, shape);
}

struct DeleteOperator {
  void operator()(xnn_operator_t op) const { xnn_delete_operator(op); }
};
using Operator = std::unique_ptr<xnn_operator, DeleteOperator>;

void check(xnn_status status) {
  if (status == xnn_status_success) return;
  std::fprintf(stderr, "linear_bench: XNNPACK failed with status %d\n", static_cast<int>(status));
  std::exit(1);
}

void run_xnnpack(benchmark::State& state, const Shape& shape) {
  Problem p(shape);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  xnn_operator_t made = nullptr;
  check(xnn_create_convert_nc_f32_qd8(0, &made));
  const Operator convert(made);
  std::vector<int8_t> quantized(shape.rows * shape.depth + XNN_EXTRA_BYTES);
  std::vector<xnn_quantization_params> params(shape.rows + XNN_EXTRA_QUANTIZATION_PARAMS);
  check(xnn_reshape_convert_nc_f32_qd8(convert.get(), shape.rows, shape.depth, shape.depth, shape.depth,
                                       nullptr));
  check(xnn_setup_convert_nc_f32_qd8(convert.get(), p.x.data(), quantized.data(), params.data()));
  std::vector<Operator> layers;
  for (size_t m = 0; m < shape.matrices; ++m) {
    check(xnn_create_fully_connected_nc_qd8_f32_qc8w(shape.depth, shape.outputs, shape.depth, shape.outputs,
                                                     p.scale.data(), p.matrix(m), p.bias.data(), -kInfinity,
                                                     kInfinity, 0, nullptr, nullptr, &made));
    layers.emplace_back(made);
    check(xnn_reshape_fully_connected_nc_qd8_f32_qc8w(made, shape.rows, nullptr));
    check(xnn_setup_fully_connected_nc_qd8_f32_qc8w(made, quantized.data(), p.out.data(), params.data()));
  }
  size_t turn = 0;
  for (auto _ : state) {
    check(xnn_run_operator(convert.get(), nullptr));
    check(xnn_run_operator(layers[turn++ % shape.matrices].get(), nullptr));
    benchmark::DoNotOptimize(p.out.data());
  }
  set_rates(state, shape);
}

}  // namespace

int main(int argc, char** argv) {
  check(xnn_initialize(nullptr));
  const Kernels* const* sets;
  const size_t count = lsrt::available_kernels(&sets);
  for (const Shape& shape : kShapes) {
    const std::string name = std::to_string(shape.rows) + "x" + std::to_string(shape.outputs) + "x" +
                             std::to_string(shape.depth) + "/" + std::to_string(shape.matrices);
    for (size_t i = 0; i + 1 < count; ++i) {  // the last set is the scalar definition
      benchmark::RegisterBenchmark((sets[i]->isa + ("/" + name)).c_str(),
                                   [=](benchmark::State& state) { run_lsrt(state, sets[i], shape); });
    }
    benchmark::RegisterBenchmark(("xnnpack/" + name).c_str(),
                                 [=](benchmark::State& state) { run_xnnpack(state, shape); });
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
