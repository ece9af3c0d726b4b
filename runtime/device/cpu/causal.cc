// Causal long-short attention on the CPU: what is stored. Attention itself is in causal_attend.cc.
#include "runtime/device/cpu/causal.h"

#include <cstring>

#include "runtime/device/cpu/lanes.h"

namespace lsrt {
namespace {

size_t qkv_width(const CausalShape& s) { return 3 * s.width() + s.heads * s.rank; }

// norm of a key and the value behind it, into out. May be in place.
void norm_key_value(const RowKernels& rows, const DeviceNorm& norm, size_t width, const float* key,
                    float* out) {
  normalise(rows, norm, width, key, width, 2, out, width);
}

// Rows of chunks, from the start of the unfinished one: those kept from earlier steps, then this step's.
struct ChunkRows {
  const float* kept;
  size_t kept_stride, kept_rows;
  const float* fresh;
  size_t fresh_stride;

  const float* operator[](size_t at) const {
    return at < kept_rows ? kept + at * kept_stride : fresh + (at - kept_rows) * fresh_stride;
  }
  ChunkRows column(size_t offset) const {
    return {kept + offset, kept_stride, kept_rows, fresh + offset, fresh_stride};
  }
};

// out[rank j][slice of head a] = sum_t weight[t][a, j] * x[first + t][slice of head a] over the rows of a
// chunk.
void compress(const CausalShape& s, const float* weight, const ChunkRows& x, size_t first, size_t j,
              float* out) {
  std::memset(out, 0, s.width() * sizeof(float));
  for (size_t t = 0; t < s.chunk; ++t) {
    const float* row = x[first + t];
    for (size_t head = 0; head < s.heads; ++head) {
      const float p = weight[(head * s.rank + j) * s.chunk + t];
      add_scaled(p, row + head * s.head_dim, s.head_dim, out + head * s.head_dim);
    }
  }
}

}  // namespace

// The same pieces serve causal_reset, append and remember.
StoreScratch::StoreScratch(const CausalShape& s, Carver* carver) {
  key = carver->take<float>(2 * s.width());
  value = key ? key + s.width() : nullptr;  // null: only counted
  weight = carver->take<float>(s.heads * s.rank * s.chunk);
}

size_t CpuCausalOps::state_bytes(const CausalShape& shape) const {
  Carver carver(nullptr);
  if (shape.int8) {
    CausalState<Int8Cache> state(shape, &carver);
  } else {
    CausalState<FloatCache> state(shape, &carver);
  }
  return carver.used();
}

void CpuCausalOps::reset(Stream& stream, const CausalLayer& layer, Dev<const float> zero_qkv) const {
  const auto launched = stream.launched("causal_reset", 1);
  const CausalShape& s = layer.shape;
  Carver carver(cpu_stream(stream).workspace());
  const StoreScratch scratch(s, &carver);
  const float* zero = zero_qkv.address() + s.width();  // key, value
  with_state(layer, [&](auto& state) {
    auto store = [&](const DeviceNorm& norm, auto& cache) {
      norm_key_value(kernels_.rows, norm, s.width(), zero, scratch.key);
      cache.write(kernels_.rows, 0, scratch.key, scratch.value);
    };
    if (s.window) store(layer.norm_window, state.zero_window);
    // Equal rows compress to themselves, before the projection as after it.
    if (s.rank) store(layer.norm_summary, state.zero_summary);
  });
}

void CpuCausalOps::append(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                          Dev<float> compressed_rows) const {
  const auto launched = stream.launched("causal_append", step.rows);
  const uint64_t position = step.numbers.address()->position;
  const float *step_x = step.x.address(), *step_qkv = step.qkv.address();
  float* compressed = compressed_rows.address();
  const CausalShape& s = layer.shape;
  const CpuStream& cpu = cpu_stream(stream);
  const size_t width = s.width(), ld = qkv_width(s);
  Carver measure(nullptr);
  StoreScratch measured(s, &measure);
  const size_t scratch_bytes = measure.used();
  auto scratch_of = [&](size_t thread) {
    Carver carver(cpu.workspace() + thread * scratch_bytes);
    return StoreScratch(s, &carver);
  };
  with_state(layer, [&](auto& state) {
    if (s.window) {
      // Only the last rows can be seen once the step is over, but its own queries see them all.
      cpu.parallel_rows(step.rows, [&](size_t i, size_t thread) {
        const float* row = step_qkv + i * ld + width;  // key, value
        const StoreScratch scratch = scratch_of(thread);
        norm_key_value(kernels_.rows, layer.norm_window, width, row, scratch.key);
        state.window.write(kernels_.rows, (position + i) % state.window.capacity, scratch.key, scratch.value);
      });
    }
    if (s.rank == 0) return;

    const size_t kv_width = ld - width, unfinished = position % s.chunk;
    const size_t first_chunk = position / s.chunk;
    const CausalView view(s, position);
    const ChunkRows x{state.pending_x, width, unfinished, step_x, width};
    const ChunkRows key{state.pending_kv, kv_width, unfinished, step_qkv + width, ld};
    const ChunkRows value = key.column(width), chunk_weights = key.column(2 * width);
    cpu.parallel(step.completed, [&](size_t chunk, size_t thread) {
      const StoreScratch scratch = scratch_of(thread);
      const size_t first = chunk * s.chunk;
      float* weight = scratch.weight;
      for (size_t t = 0; t < s.chunk; ++t) {
        const float* row = chunk_weights[first + t];
        for (size_t a = 0; a < s.heads * s.rank; ++a) weight[a * s.chunk + t] = row[a];
      }
      for (size_t a = 0; a < s.heads * s.rank; ++a) kernels_.rows.softmax(weight + a * s.chunk, s.chunk);
      for (size_t j = 0; j < s.rank; ++j) {
        compress(s, weight, x, first, j, compressed + (chunk * s.rank + j) * width);
        compress(s, weight, key, first, j, scratch.key);
        compress(s, weight, value, first, j, scratch.value);
        norm_key_value(kernels_.rows, layer.norm_summary, width, scratch.key, scratch.key);
        size_t row = (first_chunk + chunk - view.block_chunk) * s.rank + j;
        state.block.write(kernels_.rows, row, scratch.key, scratch.value);
      }
    });

    // Keep the rows of the chunk that is still unfinished.
    const size_t total = unfinished + step.rows;
    const size_t keep_from = total / s.chunk * s.chunk;
    for (size_t at = std::max(keep_from, unfinished); at < total; ++at) {
      size_t i = at - unfinished;
      std::memcpy(state.pending_x + (at - keep_from) * width, step_x + i * width, width * sizeof(float));
      std::memcpy(state.pending_kv + (at - keep_from) * kv_width, step_qkv + i * ld + width,
                  kv_width * sizeof(float));
    }
  });
}

void CpuCausalOps::remember(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                            Dev<const float> compressed_rows) const {
  const auto launched = stream.launched("causal_remember", step.rows);
  const uint64_t position = step.numbers.address()->position;
  const float* compressed_qkv = compressed_rows.address();
  const CausalShape& s = layer.shape;
  const CpuStream& cpu = cpu_stream(stream);
  const size_t width = s.width();
  Carver measure(nullptr);
  StoreScratch measured(s, &measure);
  const size_t scratch_bytes = measure.used();
  with_state(layer, [&](auto& state) {
    cpu.parallel(step.completed * s.rank, [&](size_t i, size_t thread) {
      Carver carver(cpu.workspace() + thread * scratch_bytes);
      const StoreScratch scratch(s, &carver);
      const float* row = compressed_qkv + i * qkv_width(s) + width;  // key, value
      norm_key_value(kernels_.rows, layer.norm_summary, width, row, scratch.key);
      size_t summary = position / s.chunk * s.rank + i;
      state.memory.write(kernels_.rows, summary % state.memory.capacity, scratch.key, scratch.value);
    });
  });
}

namespace {

struct PositionTable {
  size_t padded, head_bytes;  // int8: rows, bytes of a head's panels
  float* floats = nullptr;    // [heads, rows, head_dim]
  int8_t* data = nullptr;     // [heads] of panels
  float* scales = nullptr;    // [heads, padded]
  int32_t* sums = nullptr;    // [heads, padded]

  PositionTable(const CausalShape& s, size_t rows, Carver* carver)
      : padded(round_up(rows, kPanelOutputs)), head_bytes(panel_count(rows) * panel_bytes(s.head_dim)) {
    if (!s.int8) {
      floats = carver->take<float>(s.heads * rows * s.head_dim);
      return;
    }
    data = carver->take<int8_t>(s.heads * head_bytes);
    scales = carver->take<float>(s.heads * padded);
    sums = carver->take<int32_t>(s.heads * padded);
  }
};

}  // namespace

size_t CpuCausalOps::position_table_bytes(const CausalShape& s, size_t rows) const {
  Carver carver(nullptr);
  PositionTable table(s, rows, &carver);
  return carver.used();
}

DeviceTensor CpuCausalOps::make_position_table(Stream& stream, const CausalShape& s, Dev<const float> from,
                                               size_t count, Dev<void> memory) const {
  const auto launched = stream.launched("make_position_table", count);
  const float* rows = from.address();
  DeviceTensor table;
  table.rank = 3;
  table.shape[0] = static_cast<uint32_t>(s.heads);
  table.shape[1] = static_cast<uint32_t>(count);
  table.shape[2] = static_cast<uint32_t>(s.head_dim);
  Carver carver(memory.address());
  const PositionTable to(s, count, &carver);
  if (!s.int8) {
    for (size_t head = 0; head < s.heads; ++head) {
      for (size_t i = 0; i < count; ++i) {
        std::memcpy(to.floats + (head * count + i) * s.head_dim, rows + i * s.width() + head * s.head_dim,
                    s.head_dim * sizeof(float));
      }
    }
    table.data = Dev<const void>(to.floats);
    return table;
  }
  int8_t quantized[kMaxHeadDim];
  for (size_t head = 0; head < s.heads; ++head) {
    for (size_t i = 0; i < count; ++i) {
      const float* row = rows + i * s.width() + head * s.head_dim;
      const size_t at = head * to.padded + i;
      kernels_.rows.quantize_symmetric(row, 1, s.head_dim, quantized, 0, to.scales + at, to.sums + at);
      write_panel_row(quantized, s.head_dim, i, to.data + head * to.head_bytes);
    }
  }
  table.type = DataType::kInt8;
  table.data = Dev<const void>(to.data);
  table.scales = Dev<const float>(to.scales), table.sums = Dev<const int32_t>(to.sums);
  return table;
}

}  // namespace lsrt
