// Int8 linear layers of Transformer-LS models, float rows in and out, on one thread: every kernel set of this
// machine beside XNNPACK's dynamically quantized layer (qd8-f32-qc8w) on the same shapes and values. MAC/s
// counts multiply-adds, bytes/s the weights. Names: <isa or xnnpack>/<rows>x<outputs>x<depth>/<matrices that
// take turns>: many do not fit the caches, as when one token passes through a model.
#include <benchmark/benchmark.h>
#include <xnnpack.h>

#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/pages.h"
#include "kernels/dispatch.h"
#include "runtime/device/backend.h"
#include "runtime/device/cpu/causal_cache.h"

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

// As models run it: by the backend.
void run_lsrt(benchmark::State& state, const char* isa, const Shape& shape) {
  Problem p(shape);
  const size_t padded = lsrt::round_up(shape.outputs, lsrt::kPanelOutputs);
  const size_t bytes = lsrt::panel_count(shape.outputs) * lsrt::panel_bytes(shape.depth);
  const lsrt::Pages pages(bytes * shape.matrices);
  std::vector<float> scale(p.scale);
  scale.resize(padded);
  std::vector<int32_t> sum(shape.matrices * padded);
  const auto backend = lsrt::Backend::create({"cpu", isa}, nullptr).take();
  std::vector<const lsrt::Linear*> layers;
  lsrt::LinearView view;
  for (size_t m = 0; m < shape.matrices; ++m) {
    auto* data = reinterpret_cast<int8_t*>(pages.data() + m * bytes);
    for (size_t n = 0; n < shape.outputs; ++n) {
      sum[m * padded + n] = lsrt::write_panel_row(p.matrix(m) + n * shape.depth, shape.depth, n, data);
    }
    view.weight.data = data, view.weight.scales = scale.data(), view.weight.sums = sum.data() + m * padded;
    view.weight.type = lsrt::DataType::kInt8;
    view.weight.rank = 2;
    view.weight.shape[0] = static_cast<uint32_t>(shape.outputs);
    view.weight.shape[1] = static_cast<uint32_t>(shape.depth);
    view.bias = p.bias.data();
    view.outputs = shape.outputs, view.inputs = shape.depth;
    layers.push_back(backend->prepare(view).take());
  }
  lsrt::StreamPlan plan;
  backend->ops().linear->plan(view, shape.rows, &plan);
  const auto stream = backend->create_stream(plan).take();
  size_t turn = 0;
  for (auto _ : state) {
    backend->ops().linear->linear(*stream, *layers[turn++ % shape.matrices],
                                  lsrt::Dev<const float>(p.x.data()), shape.rows, lsrt::Activation::kNone,
                                  lsrt::Dev<float>(p.out.data()));
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
                                   [=](benchmark::State& state) { run_lsrt(state, sets[i]->isa, shape); });
    }
    benchmark::RegisterBenchmark(("xnnpack/" + name).c_str(),
                                 [=](benchmark::State& state) { run_xnnpack(state, shape); });
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
