// Linear layers on the CPU. Int8: rows are quantized to 8 bits and multiplied with the model's panels, in
// place. Float32: float_linear.h.
#include <algorithm>

#include "runtime/device/cpu/cpu.h"
#include "runtime/device/cpu/float_linear.h"

namespace lsrt {
namespace {

struct PanelLinear : Linear {
  PanelWeights weights;
};

// Weights that are not kept (BackendOptions): prepared for each launch.
struct PassingLinear : Linear {
  LinearView view;
  const Model* model;
};

// Rows that share one pass over the weights: their packed form should stay in the L2 cache.
constexpr size_t kRowBlock = 48;
// Bytes of weights of one task: a share of the L2 cache.
constexpr size_t kTaskWeightBytes = 64 << 10;

// The workspace of a launch.
struct PackedRows {
  RowScale* scale;  // [rows]
  uint8_t* rows;    // [rows] of packed_row_bytes(inputs)

  PackedRows(const GemmKernels& gemm, size_t n, size_t inputs, Carver* carver) {
    scale = carver->take<RowScale>(n);
    rows = carver->take<uint8_t>(n * gemm.packed_row_bytes(inputs));
  }
};

void activate(const RowKernels& rows, Activation activation, float* x, size_t n) {
  if (activation == Activation::kGelu) rows.gelu(x, n);
  if (activation == Activation::kRelu) rows.relu(x, n);
}

}  // namespace

Result<const Linear*> CpuBackend::prepare(const LinearView& view) {
  std::lock_guard<std::mutex> lock(mutex_);
  const TensorView& weight = view.weight;
  std::unique_ptr<Linear>& slot =
      prepared_[{weight.data, weight.scales, view.bias, view.outputs, view.inputs, weight.type}];
  if (slot) return static_cast<const Linear*>(slot.get());
  LinearView here = view;  // where the device has it
  here.weight.data = weights(weight.data).address();
  here.weight.scales = weights_of(weight.scales).address();
  here.weight.sums = weights_of(weight.sums).address();
  here.bias = weights_of(view.bias).address();
  if (!keep_weights_) {
    auto linear = std::make_unique<PassingLinear>();
    linear->view = here;
    linear->model = &model();
    slot = std::move(linear);
  } else if (weight.type == DataType::kInt8) {
    auto linear = std::make_unique<PanelLinear>();
    linear->weights = here.weight.panels(0, here.bias);
    slot = std::move(linear);
  } else {
    Result<std::unique_ptr<FloatLinear>> linear = FloatLinear::create(here, kernels_.rows);
    if (!linear.ok()) return linear.status();
    slot = linear.take();
  }
  uses_floats_ = uses_floats_ || weight.type != DataType::kInt8;
  slot->outputs = view.outputs;
  slot->inputs = view.inputs;
  return static_cast<const Linear*>(slot.get());
}

void CpuLinearOps::plan(const LinearView& view, size_t rows, StreamPlan* plan) const {
  Carver carver(nullptr);
  PackedRows packed(kernels_.gemm, rows, view.inputs, &carver);
  plan->need(carver.used());
}

void CpuLinearOps::linear(Stream& stream, const Linear& linear, Dev<const float> from, size_t rows,
                          Activation activation, Dev<float> to) const {
  const auto launched = stream.launched("linear", rows, linear.outputs, linear.inputs);
  const CpuStream& cpu = cpu_stream(stream);
  const auto* passing = dynamic_cast<const PassingLinear*>(&linear);
  if (passing == nullptr) return multiply(cpu, linear, from.address(), rows, activation, to.address());
  const LinearView& view = passing->view;
  PanelLinear panels;
  std::unique_ptr<FloatLinear> floats;
  if (view.weight.type == DataType::kInt8) {
    panels.weights = view.weight.panels(0, view.bias);
  } else {
    Result<std::unique_ptr<FloatLinear>> made = FloatLinear::create(view, kernels_.rows);
    if (!made.ok()) return cpu.fail(made.status());
    floats = made.take();
  }
  Linear& prepared = floats ? static_cast<Linear&>(*floats) : panels;
  prepared.outputs = linear.outputs, prepared.inputs = linear.inputs;
  multiply(cpu, prepared, from.address(), rows, activation, to.address());
  passing->model->forget(view.weight);
}

void CpuLinearOps::multiply(const CpuStream& cpu, const Linear& linear, const float* x, size_t rows,
                            Activation activation, float* y) const {
  const size_t inputs = linear.inputs, outputs = linear.outputs;
  const size_t row_blocks = (rows + kRowBlock - 1) / kRowBlock;

  if (auto* floats = dynamic_cast<const FloatLinear*>(&linear)) {
    floats->run(cpu, x, rows, y);
    if (activation != Activation::kNone) {
      cpu.parallel_rows(
          rows, [&](size_t i, size_t) { activate(kernels_.rows, activation, y + i * outputs, outputs); });
    }
    return;
  }

  const PanelWeights& weights = static_cast<const PanelLinear&>(linear).weights;
  const size_t packed_bytes = kernels_.gemm.packed_row_bytes(inputs);
  Carver carver(cpu.workspace());
  const PackedRows packed(kernels_.gemm, rows, inputs, &carver);
  auto block_rows = [&](size_t block) { return std::min(kRowBlock, rows - block * kRowBlock); };

  cpu.parallel(row_blocks, [&](size_t block, size_t) {
    size_t first = block * kRowBlock;
    kernels_.gemm.pack_rows(x + first * inputs, inputs, block_rows(block), inputs,
                            packed.rows + first * packed_bytes, packed.scale + first);
  });

  // With one block of rows every thread gets a share of the panels, else tasks are sized for the cache.
  const size_t panels = panel_count(outputs);
  const size_t even_share = (panels + cpu.threads() - 1) / cpu.threads();
  const size_t cached = std::max<size_t>(1, kTaskWeightBytes / panel_bytes(inputs));
  const size_t task_panels = row_blocks == 1 ? even_share : std::min(even_share, cached);
  const size_t panel_tasks = (panels + task_panels - 1) / task_panels;
  // The shorter last block of rows comes last, so that threads end together.
  const size_t whole = std::max<size_t>(1, rows / kRowBlock), whole_tasks = whole * panel_tasks;
  cpu.parallel(row_blocks * panel_tasks, [&](size_t task, size_t) {
    const bool is_whole = task < whole_tasks;
    const size_t block = is_whole ? task % whole : whole, first = block * kRowBlock;
    const size_t begin = (is_whole ? task / whole : task - whole_tasks) * task_panels;
    const size_t end = std::min(panels, begin + task_panels);
    size_t column = begin * kPanelOutputs, columns = std::min(outputs, end * kPanelOutputs) - column;
    float* out = y + first * outputs + column;
    kernels_.gemm.gemm(packed.rows + first * packed_bytes, packed.scale + first, block_rows(block), weights,
                       begin, end, out, outputs);
    if (activation != Activation::kNone) {
      for (size_t i = 0; i < block_rows(block); ++i)
        activate(kernels_.rows, activation, out + i * outputs, columns);
    }
  });
}

}  // namespace lsrt
