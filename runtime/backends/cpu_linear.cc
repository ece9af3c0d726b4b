// Linear layers on the CPU. Int8: rows are quantized to 8 bits and multiplied with the model's panels, in
// place. Float32 (the reference path): XNNPACK, which packs a copy of the weights.
#include <xnnpack.h>

#include <algorithm>
#include <limits>

#include "runtime/backends/cpu.h"

namespace lsrt {
namespace {

struct PanelLinear : Linear {
  PanelWeights weights;
};

struct XnnLinear : Linear {
  xnn_operator_t op = nullptr;
  std::mutex mutex;  // an XNNPACK operator holds the arguments of its run
  ~XnnLinear() override { xnn_delete_operator(op); }
};

// Rows that share one pass over the weights: their packed form should stay in the L2 cache.
constexpr size_t kRowBlock = 48;
// Bytes of weights of one task: a share of the L2 cache.
constexpr size_t kTaskWeightBytes = 64 << 10;

void activate(const RowKernels& rows, Activation activation, float* x, size_t n) {
  if (activation == Activation::kGelu) rows.gelu(x, n);
  if (activation == Activation::kRelu) rows.relu(x, n);
}

}  // namespace

Result<const Linear*> CpuBackend::prepare(const LinearView& view) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::unique_ptr<Linear>& slot = prepared_[{view.weight.data, view.bias}];
  if (slot) return static_cast<const Linear*>(slot.get());
  if (view.weight.type == DataType::kInt8) {
    auto linear = std::make_unique<PanelLinear>();
    linear->weights = view.weight.panels(0, view.bias);
    slot = std::move(linear);
  } else {
    auto linear = std::make_unique<XnnLinear>();
    uses_xnnpack_ = true;
    if (xnn_initialize(nullptr) != xnn_status_success) {
      return fail(Error::kUnsupported, "XNNPACK does not support this CPU");
    }
    const float infinity = std::numeric_limits<float>::infinity();
    xnn_status status = xnn_create_fully_connected_nc_f32(
        view.inputs, view.outputs, view.inputs, view.outputs, view.weight.floats(), view.bias, -infinity,
        infinity,
        /*flags=*/0, /*code_cache=*/nullptr, /*weights_cache=*/nullptr, &linear->op);
    if (status != xnn_status_success) {
      return fail(Error::kMemory, "XNNPACK cannot prepare a %zu x %zu layer (status %d)", view.outputs,
                  view.inputs, static_cast<int>(status));
    }
    slot = std::move(linear);
  }
  slot->outputs = view.outputs;
  slot->inputs = view.inputs;
  return static_cast<const Linear*>(slot.get());
}

size_t CpuBackend::linear_workspace_bytes(const Linear& linear, size_t rows, size_t) const {
  return round_up(rows * sizeof(RowScale), kWeightAlignment) +
         rows * kernels_.gemm.packed_row_bytes(linear.inputs);
}

void CpuBackend::linear(Stream& stream, const Linear& linear, const float* x, size_t rows,
                        Activation activation, float* y) {
  const CpuStream& cpu = static_cast<CpuStream&>(stream);
  const size_t inputs = linear.inputs, outputs = linear.outputs;
  const size_t row_blocks = (rows + kRowBlock - 1) / kRowBlock;

  if (auto* xnn = dynamic_cast<const XnnLinear*>(&linear)) {
    auto* mutable_xnn = const_cast<XnnLinear*>(xnn);
    std::lock_guard<std::mutex> lock(mutable_xnn->mutex);
    // These calls fail only on arguments that prepare() has checked.
    (void)xnn_reshape_fully_connected_nc_f32(xnn->op, rows, cpu.xnnpack_pool());
    (void)xnn_setup_fully_connected_nc_f32(xnn->op, x, y);
    (void)xnn_run_operator(xnn->op, cpu.xnnpack_pool());
    if (activation != Activation::kNone) {
      cpu.parallel_rows(
          rows, [&](size_t i, size_t) { activate(kernels_.rows, activation, y + i * outputs, outputs); });
    }
    return;
  }

  const PanelWeights& weights = static_cast<const PanelLinear&>(linear).weights;
  const size_t packed_bytes = kernels_.gemm.packed_row_bytes(inputs);
  auto* row_scale = reinterpret_cast<RowScale*>(cpu.workspace());
  uint8_t* packed = cpu.workspace() + round_up(rows * sizeof(RowScale), kWeightAlignment);
  auto block_rows = [&](size_t block) { return std::min(kRowBlock, rows - block * kRowBlock); };

  cpu.parallel(row_blocks, [&](size_t block, size_t) {
    size_t first = block * kRowBlock;
    kernels_.gemm.pack_rows(x + first * inputs, inputs, block_rows(block), inputs,
                            packed + first * packed_bytes, row_scale + first);
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
    kernels_.gemm.gemm(packed + first * packed_bytes, row_scale + first, block_rows(block), weights, begin,
                       end, out, outputs);
    if (activation != Activation::kNone) {
      for (size_t i = 0; i < block_rows(block); ++i)
        activate(kernels_.rows, activation, out + i * outputs, columns);
    }
  });
}

}  // namespace lsrt
