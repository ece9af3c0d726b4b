// Landmark rows and the attention of the cls row on the CPU: float32, in one fixed order.
#include <algorithm>
#include <cstring>

#include "runtime/backends/cpu.h"
#include "runtime/backends/cpu_lanes.h"

namespace lsrt {

namespace {

// Rows that are copied side by side, so that they stay in the L1 cache while all landmarks pass over them.
constexpr size_t kRowBlock = 64;
// Rows of one task, which takes a softmax and makes sums of its own while they are in the L2 cache. Fixed, so
// that results do not depend on the number of threads.
constexpr size_t kTaskRows = 512;
// Were the weights of landmarks a power of two apart, they would fight for the same cache lines.
constexpr size_t kWeightStride = kTaskRows + kLanes;

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

// out[0 .. n) += sum_t weight[t] * x[t] for x[rows, n], in ascending order of t.
void add_weighted_rows(const float* weight, const float* x, size_t rows, size_t n, float* out) {
  size_t i = 0;
  for (; i + 32 <= n; i += 32) add_weighted_quads<8>(weight, x + i, n, rows, out + i);
  for (; i + 4 <= n; i += 4) add_weighted_quads<1>(weight, x + i, n, rows, out + i);
  for (size_t t = 0; i < n && t < rows; ++t) add_scaled(weight[t], x + t * n + i, n - i, out + i);
}

struct Workspace {
  float* scratch;  // [threads]: weights [rank, kWeightStride], keys and values [2, kRowBlock, head_dim]
  float* largest;  // [heads * rank, tasks]: score of the task's rows
  float* total;    // [heads * rank, tasks]: sum of exp(score - largest)
  float* sums;     // [tasks, key and value, rank, width]
  size_t tasks, sum_floats, scratch_floats;

  Workspace(const Landmarks& l, size_t threads, Carver* carver)
      : tasks((l.rows + kTaskRows - 1) / kTaskRows),
        sum_floats(2 * l.rank * l.heads * l.head_dim),
        scratch_floats(l.rank * kWeightStride + 2 * kRowBlock * l.head_dim) {
    scratch = carver->take<float>(threads * scratch_floats);
    largest = carver->take<float>(l.heads * l.rank * tasks);
    total = carver->take<float>(l.heads * l.rank * tasks);
    sums = carver->take<float>(tasks * sum_floats);
  }
};

// The landmarks of one head over the rows of one task alone. weight: the thread's scratch.
void sum_task(const RowKernels& kernels, const Landmarks& l, const Workspace& w, size_t task, size_t head,
              float* weight) {
  const size_t first = task * kTaskRows, rows = std::min(kTaskRows, l.rows - first);
  for (size_t t = 0; t < rows; ++t) {
    const float* score = l.score + (first + t) * l.stride + head * l.rank;
    for (size_t j = 0; j < l.rank; ++j) weight[j * kWeightStride + t] = score[j];
  }
  for (size_t j = 0; j < l.rank; ++j) {
    float* row = weight + j * kWeightStride;
    const size_t top = std::max_element(row, row + rows) - row, at = (head * l.rank + j) * w.tasks + task;
    w.largest[at] = row[top];
    kernels.softmax(row, rows);
    w.total[at] = 1 / row[top];
  }
  const size_t width = l.heads * l.head_dim, offset = head * l.head_dim;
  float* sums = w.sums + task * w.sum_floats + offset;
  for (size_t j = 0; j < 2 * l.rank; ++j) std::memset(sums + j * width, 0, l.head_dim * sizeof(float));
  float *key = weight + l.rank * kWeightStride, *value = key + kRowBlock * l.head_dim;
  for (size_t t = 0; t < rows; t += kRowBlock) {
    const size_t count = std::min(kRowBlock, rows - t);
    for (size_t i = 0; i < count; ++i) {
      const size_t at = (first + t + i) * l.stride + offset;
      std::memcpy(key + i * l.head_dim, l.key + at, l.head_dim * sizeof(float));
      std::memcpy(value + i * l.head_dim, l.value + at, l.head_dim * sizeof(float));
    }
    for (size_t j = 0; j < l.rank; ++j) {
      const float* p = weight + j * kWeightStride + t;
      add_weighted_rows(p, key, count, l.head_dim, sums + j * width);
      add_weighted_rows(p, value, count, l.head_dim, sums + (l.rank + j) * width);
    }
  }
}

// One landmark: the tasks' sums, each weighted by its share in the softmax over all rows.
void join_tasks(const RowKernels& kernels, const Landmarks& l, const Workspace& w, size_t head, size_t j) {
  const size_t width = l.heads * l.head_dim, offset = head * l.head_dim;
  float* share = w.largest + (head * l.rank + j) * w.tasks;
  const float* total = w.total + (head * l.rank + j) * w.tasks;
  kernels.softmax(share, w.tasks);
  float all = 0;
  for (size_t task = 0; task < w.tasks; ++task) all += share[task] *= total[task];
  float *key = l.out_key + j * width + offset, *value = l.out_value + j * width + offset;
  std::memset(key, 0, l.head_dim * sizeof(float));
  std::memset(value, 0, l.head_dim * sizeof(float));
  for (size_t task = 0; task < w.tasks; ++task) {
    const float* sums = w.sums + task * w.sum_floats + j * width + offset;
    add_scaled(share[task] / all, sums, l.head_dim, key);
    add_scaled(share[task] / all, sums + l.rank * width, l.head_dim, value);
  }
}

}  // namespace

size_t CpuBackend::landmarks_workspace_bytes(const Landmarks& l, size_t threads) const {
  Carver carver(nullptr);
  Workspace workspace(l, threads, &carver);
  return carver.used();
}

void CpuBackend::landmarks(Stream& stream, const Landmarks& l) {
  const CpuStream& cpu = static_cast<CpuStream&>(stream);
  Carver carver(cpu.workspace());
  const Workspace w(l, cpu.threads(), &carver);
  cpu.parallel(w.tasks * l.heads, [&](size_t i, size_t thread) {
    sum_task(kernels_.rows, l, w, i / l.heads, i % l.heads, w.scratch + thread * w.scratch_floats);
  });
  for (size_t i = 0; i < l.heads * l.rank; ++i) join_tasks(kernels_.rows, l, w, i / l.rank, i % l.rank);
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
