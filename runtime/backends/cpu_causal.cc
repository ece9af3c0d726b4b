// Causal long-short attention on the CPU: what is stored. Attention itself is in cpu_causal_attend.cc.
#include "runtime/backends/cpu_causal.h"

#include <cstring>

#include "runtime/backends/cpu_lanes.h"

namespace lsrt {
namespace {

struct Projected {  // the parts of one qkv row
  const float* key;
  const float* value;
  const float* chunk_weights;  // [heads * rank]
};
Projected split(const CausalShape& s, const float* kv) { return {kv, kv + s.width(), kv + 2 * s.width()}; }

size_t qkv_width(const CausalShape& s) { return 3 * s.width() + s.heads * s.rank; }

// norm of one row into scratch.
const float* normed(const RowKernels& rows, const NormView& norm, size_t width, const float* x,
                    float* scratch) {
  rows.layer_norm(x, norm.gamma, norm.beta, norm.eps, width, scratch);
  return scratch;
}

// out[rank j][slice of head a] = sum_t weight[t][a, j] * x[t][slice of head a] over the rows of a chunk.
void compress(const CausalShape& s, const float* weight, const float* const* x, size_t j, float* out) {
  std::memset(out, 0, s.width() * sizeof(float));
  for (size_t t = 0; t < s.chunk; ++t) {
    for (size_t head = 0; head < s.heads; ++head) {
      const float p = weight[(head * s.rank + j) * s.chunk + t];
      add_scaled(p, x[t] + head * s.head_dim, s.head_dim, out + head * s.head_dim);
    }
  }
}

}  // namespace

size_t CpuBackend::causal_state_bytes(const CausalShape& shape) const {
  Carver carver(nullptr);
  if (shape.int8) {
    CausalState<Int8Cache> state(shape, &carver);
  } else {
    CausalState<FloatCache> state(shape, &carver);
  }
  return carver.used();
}

void CpuBackend::causal_reset(Stream& stream, const CausalLayer& layer, const float* zero_qkv) {
  const CausalShape& s = layer.shape;
  float* key = reinterpret_cast<float*>(static_cast<CpuStream&>(stream).workspace());
  float* value = key + s.width();
  Projected zero = split(s, zero_qkv + s.width());
  with_state(layer, [&](auto& state) {
    auto store = [&](const NormView& norm, auto& cache) {
      normed(kernels_.rows, norm, s.width(), zero.key, key);
      normed(kernels_.rows, norm, s.width(), zero.value, value);
      cache.write(kernels_.rows, 0, key, value);
    };
    if (s.window) store(layer.weights->norm_window, state.zero_window);
    // Equal rows compress to themselves, before the projection as after it.
    if (s.rank) store(layer.weights->norm_summary, state.zero_summary);
  });
}

void CpuBackend::causal_append(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                               float* compressed) {
  const CausalShape& s = layer.shape;
  const CpuStream& cpu = static_cast<CpuStream&>(stream);
  const size_t width = s.width(), ld = qkv_width(s);
  const size_t scratch_floats = 2 * width + s.heads * s.rank * s.chunk;
  auto scratch = [&](size_t thread) {
    return reinterpret_cast<float*>(cpu.workspace()) + thread * round_up(scratch_floats, 16);
  };
  with_state(layer, [&](auto& state) {
    if (s.window) {
      // Only the last rows can be seen once the step is over, but its own queries see them all.
      cpu.parallel_rows(step.rows, [&](size_t i, size_t thread) {
        Projected row = split(s, step.qkv + i * ld + width);
        float* key = scratch(thread);
        float* value = key + width;
        normed(kernels_.rows, layer.weights->norm_window, width, row.key, key);
        normed(kernels_.rows, layer.weights->norm_window, width, row.value, value);
        state.window.write(kernels_.rows, (step.position + i) % state.window.capacity, key, value);
      });
    }
    if (s.rank == 0) return;

    const size_t kv_width = ld - width, unfinished = step.position % s.chunk;
    const size_t first_chunk = step.position / s.chunk;
    const CausalView view(s, step.position);
    cpu.parallel(step.chunks_completed(s.chunk), [&](size_t chunk, size_t thread) {
      // Rows of the chunk: from this step, or kept from earlier ones.
      const float* x[kMaxChunk];
      const float* key[kMaxChunk];
      const float* value[kMaxChunk];
      float* weight = scratch(thread);  // [heads * rank, chunk]
      float* sum = weight + s.heads * s.rank * s.chunk;
      for (size_t t = 0; t < s.chunk; ++t) {
        size_t at = chunk * s.chunk + t;  // from the start of the unfinished chunk
        bool kept = at < unfinished;
        x[t] = kept ? state.pending_x + at * width : step.x + (at - unfinished) * width;
        Projected row =
            split(s, kept ? state.pending_kv + at * kv_width : step.qkv + (at - unfinished) * ld + width);
        key[t] = row.key;
        value[t] = row.value;
        for (size_t a = 0; a < s.heads * s.rank; ++a) weight[a * s.chunk + t] = row.chunk_weights[a];
      }
      for (size_t a = 0; a < s.heads * s.rank; ++a) kernels_.rows.softmax(weight + a * s.chunk, s.chunk);
      for (size_t j = 0; j < s.rank; ++j) {
        compress(s, weight, x, j, compressed + (chunk * s.rank + j) * width);
        const NormView& norm = layer.weights->norm_summary;
        compress(s, weight, key, j, sum);
        normed(kernels_.rows, norm, width, sum, sum);
        compress(s, weight, value, j, sum + width);
        normed(kernels_.rows, norm, width, sum + width, sum + width);
        size_t row = (first_chunk + chunk - view.block_chunk) * s.rank + j;
        state.block.write(kernels_.rows, row, sum, sum + width);
      }
    });

    // Keep the rows of the chunk that is still unfinished.
    const size_t total = unfinished + step.rows;
    const size_t keep_from = total / s.chunk * s.chunk;
    for (size_t at = std::max(keep_from, unfinished); at < total; ++at) {
      size_t i = at - unfinished;
      std::memcpy(state.pending_x + (at - keep_from) * width, step.x + i * width, width * sizeof(float));
      std::memcpy(state.pending_kv + (at - keep_from) * kv_width, step.qkv + i * ld + width,
                  kv_width * sizeof(float));
    }
  });
}

void CpuBackend::causal_remember(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                                 const float* compressed_qkv) {
  const CausalShape& s = layer.shape;
  const CpuStream& cpu = static_cast<CpuStream&>(stream);
  const size_t width = s.width();
  with_state(layer, [&](auto& state) {
    cpu.parallel(step.chunks_completed(s.chunk) * s.rank, [&](size_t i, size_t thread) {
      float* key = reinterpret_cast<float*>(cpu.workspace()) + thread * 2 * round_up(width, 16);
      float* value = key + width;
      Projected row = split(s, compressed_qkv + i * qkv_width(s) + width);
      normed(kernels_.rows, layer.weights->norm_summary, width, row.key, key);
      normed(kernels_.rows, layer.weights->norm_summary, width, row.value, value);
      size_t summary = step.position / s.chunk * s.rank + i;
      state.memory.write(kernels_.rows, summary % state.memory.capacity, key, value);
    });
  });
}

size_t CpuBackend::position_table_bytes(const CausalShape& s, size_t rows) const {
  size_t padded = round_up(rows, kPanelOutputs);
  if (!s.int8) return s.heads * rows * s.head_dim * sizeof(float);
  return s.heads * padded * (round_up(s.head_dim, kPanelDepth) + sizeof(float) + sizeof(int32_t)) +
         3 * kWeightAlignment;
}

TensorView CpuBackend::make_position_table(Stream&, const CausalShape& s, const float* rows, size_t count,
                                           void* memory) {
  TensorView table;
  table.name = "positions";
  table.rank = 3;
  table.shape[0] = s.heads, table.shape[1] = count, table.shape[2] = s.head_dim;
  Carver carver(memory);
  if (!s.int8) {
    float* out = carver.take<float>(s.heads * count * s.head_dim);
    for (size_t head = 0; head < s.heads; ++head) {
      for (size_t i = 0; i < count; ++i) {
        std::memcpy(out + (head * count + i) * s.head_dim, rows + i * s.width() + head * s.head_dim,
                    s.head_dim * sizeof(float));
      }
    }
    table.data = out;
    return table;
  }
  const size_t padded = round_up(count, kPanelOutputs);
  const size_t head_bytes = panel_count(count) * panel_bytes(s.head_dim);
  int8_t* data = carver.take<int8_t>(s.heads * head_bytes);
  float* scales = carver.take<float>(s.heads * padded);
  int32_t* sums = carver.take<int32_t>(s.heads * padded);
  int8_t quantized[kMaxHeadDim];
  for (size_t head = 0; head < s.heads; ++head) {
    for (size_t i = 0; i < count; ++i) {
      const float* row = rows + i * s.width() + head * s.head_dim;
      scales[head * padded + i] = kernels_.rows.quantize_symmetric(row, s.head_dim, quantized);
      sums[head * padded + i] = write_panel_row(quantized, s.head_dim, i, data + head * head_bytes);
    }
  }
  table.type = DataType::kInt8;
  table.data = data, table.scales = scales, table.sums = sums;
  return table;
}

}  // namespace lsrt
