// Landmark rows and the attention of the cls row on the CPU: float32, in one fixed order.
#include <algorithm>
#include <cstring>

#include "runtime/backends/cpu.h"
#include "runtime/backends/cpu_lanes.h"

namespace lsrt {

namespace {

// Rows whose elements stay in the L1 cache while all landmarks pass over them.
constexpr size_t kRowBlock = 64;
// Rows of one task, which makes sums of its own: fixed, so that results do not depend on the number of
// threads.
constexpr size_t kTaskRows = 1024;

// Four neighbouring floats; the compiler picks the instructions, each is rounded as a float on its own.
typedef float Quad __attribute__((vector_size(16), aligned(4)));

// out[0 .. 4 kQuads) += sum_t weight[t] * x[t], the sums in registers.
template <size_t kQuads>
void add_weighted_quads(const float* weight, const float* x, size_t stride, size_t rows, float* out) {
  Quad sum[kQuads];
  std::memcpy(sum, out, sizeof sum);
  for (size_t t = 0; t < rows; ++t) {
    const Quad w = {weight[t], weight[t], weight[t], weight[t]};
    const Quad* row = reinterpret_cast<const Quad*>(x + t * stride);
#pragma GCC unroll 8
    for (size_t i = 0; i < kQuads; ++i) sum[i] += w * row[i];
  }
  std::memcpy(out, sum, sizeof sum);
}

// out[0 .. n) += sum_t weight[t] * x[t] for `rows` rows of n elements, in ascending order of t.
void add_weighted_rows(const float* weight, const float* x, size_t stride, size_t rows, size_t n,
                       float* out) {
  size_t i = 0;
  for (; i + 32 <= n; i += 32) add_weighted_quads<8>(weight, x + i, stride, rows, out + i);
  for (; i + 4 <= n; i += 4) add_weighted_quads<1>(weight, x + i, stride, rows, out + i);
  for (size_t t = 0; i < n && t < rows; ++t) add_scaled(weight[t], x + t * stride + i, n - i, out + i);
}

struct Workspace {
  float* weight;  // [heads * rank, stride]
  float* sums;    // [tasks, key and value, rank, width]
  // Were the weights of landmarks a power of two apart, they would fight for the same cache lines.
  size_t stride, tasks, sum_floats;

  Workspace(const Landmarks& l, Carver* carver)
      : stride(round_up(l.rows, kLanes) + kLanes),
        tasks((l.rows + kTaskRows - 1) / kTaskRows),
        sum_floats(2 * l.rank * l.heads * l.head_dim) {
    weight = carver->take<float>(l.heads * l.rank * stride);
    sums = carver->take<float>(tasks * sum_floats);
  }
};

}  // namespace

size_t CpuBackend::landmarks_workspace_bytes(const Landmarks& l, size_t) const {
  Carver carver(nullptr);
  Workspace workspace(l, &carver);
  return carver.used();
}

void CpuBackend::landmarks(Stream& stream, const Landmarks& l) {
  const CpuStream& cpu = static_cast<CpuStream&>(stream);
  Carver carver(cpu.workspace());
  const Workspace w(l, &carver);
  const size_t width = l.heads * l.head_dim, all = l.heads * l.rank;
  auto end_of = [&](size_t task) { return std::min(l.rows, (task + 1) * kTaskRows); };

  cpu.parallel(w.tasks, [&](size_t task, size_t) {
    for (size_t t = task * kTaskRows; t < end_of(task); ++t) {
      for (size_t j = 0; j < all; ++j) w.weight[j * w.stride + t] = l.score[t * l.stride + j];
    }
  });
  cpu.parallel(all, [&](size_t j, size_t) { kernels_.rows.softmax(w.weight + j * w.stride, l.rows); });

  cpu.parallel(w.tasks, [&](size_t task, size_t) {
    float* sums = w.sums + task * w.sum_floats;
    std::memset(sums, 0, w.sum_floats * sizeof(float));
    for (size_t t = task * kTaskRows; t < end_of(task); t += kRowBlock) {
      const size_t rows = std::min(kRowBlock, end_of(task) - t);
      for (size_t part = 0; part < 2 * l.heads; ++part) {
        const size_t head = part / 2, offset = head * l.head_dim;
        const float* x = (part % 2 ? l.value : l.key) + t * l.stride + offset;
        float* out = sums + part % 2 * l.rank * width + offset;
        const float* weight = w.weight + head * l.rank * w.stride + t;
        for (size_t j = 0; j < l.rank; ++j) {
          add_weighted_rows(weight + j * w.stride, x, l.stride, rows, l.head_dim, out + j * width);
        }
      }
    }
  });

  const size_t half = l.rank * width;
  std::memcpy(l.out_key, w.sums, half * sizeof(float));
  std::memcpy(l.out_value, w.sums + half, half * sizeof(float));
  for (size_t task = 1; task < w.tasks; ++task) {
    kernels_.rows.add(w.sums + task * w.sum_floats, half, l.out_key);
    kernels_.rows.add(w.sums + task * w.sum_floats + half, half, l.out_value);
  }
}

size_t CpuBackend::cls_attention_workspace_bytes(const ClsAttention& a, size_t threads) const {
  return threads * (a.rows + 1) * sizeof(float);
}

void CpuBackend::cls_attention(Stream& stream, const ClsAttention& a) {
  const CpuStream& cpu = static_cast<CpuStream&>(stream);
  cpu.parallel(a.heads, [&](size_t head, size_t thread) {
    float* weight = reinterpret_cast<float*>(cpu.workspace()) + thread * (a.rows + 1);
    const size_t offset = head * a.head_dim;
    const float* query = a.query + offset;
    const float* x = a.x + offset;
    weight[0] = dot(query, a.key + offset, a.head_dim);
    for (size_t t = 0; t < a.rows; ++t) weight[1 + t] = dot(query, x + t * a.stride, a.head_dim);
    kernels_.rows.softmax(weight, a.rows + 1);
    float* out = a.out + offset;
    std::memset(out, 0, a.head_dim * sizeof(float));
    add_scaled(weight[0], a.value + offset, a.head_dim, out);
    for (size_t t = 0; t < a.rows; ++t) add_scaled(weight[1 + t], x + t * a.stride, a.head_dim, out);
  });
}

}  // namespace lsrt
