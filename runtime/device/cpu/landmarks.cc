// Landmark rows and the attention of the cls row on the CPU: float32, in one fixed order.
#include <algorithm>
#include <cstring>

#include "runtime/device/cpu/cpu.h"
#include "runtime/device/cpu/lanes.h"

namespace lsrt {
namespace {

// Rows of one task, whose sums are taken alone before they join those of the rows before. Fixed, so that
// results do not depend on the number of threads or on how rows are cut into launches.
constexpr size_t kTaskRows = Landmarks::kRowBlock;

struct Workspace {
  float* scratch;  // [threads]: exponentials [kTaskRows, rank], key and value rows [kTaskRows, 2 head_dim]
  float* largest;  // [tasks, heads, rank]: score of the task's rows
  float* total;    // [tasks, heads, rank]: sum of exp(score - largest)
  float* sums;     // [tasks, heads, rank, 2 head_dim]: of key and value rows, by the same exponentials
  size_t tasks, scratch_floats;

  Workspace(const Landmarks& l, size_t threads, Carver* carver)
      : tasks((l.rows + kTaskRows - 1) / kTaskRows),
        scratch_floats(round_up(kTaskRows * (l.rank + 2 * l.head_dim), kLanes)) {
    scratch = carver->take<float>(threads * scratch_floats);
    largest = carver->take<float>(tasks * l.heads * l.rank);
    total = carver->take<float>(tasks * l.heads * l.rank);
    sums = carver->take<float>(tasks * l.heads * l.rank * 2 * l.head_dim);
  }
};

// The landmarks of one head over the rows of one task alone.
void sum_task(const Kernels& kernels, const Landmarks& l, const Workspace& w, size_t task, size_t head,
              float* weight) {
  const size_t first = task * kTaskRows, rows = std::min(kTaskRows, l.rows - first), pair = 2 * l.head_dim;
  const size_t at = (task * l.heads + head) * l.rank;
  float* key_value = weight + kTaskRows * l.rank;
  // Side by side, so that they stay in the L1 cache while all landmarks pass.
  for (size_t t = 0; t < rows; ++t) {
    const size_t from = (first + t) * l.stride + head * l.head_dim;
    std::memcpy(key_value + t * pair, l.key.address() + from, l.head_dim * sizeof(float));
    std::memcpy(key_value + t * pair + l.head_dim, l.value.address() + from, l.head_dim * sizeof(float));
  }
  kernels.rows.exp_columns(l.score.address() + first * l.stride + head * l.rank, l.stride, rows, l.rank,
                           weight, l.rank, w.largest + at, w.total + at);
  kernels.attn.weighted_rows(weight, l.rank, key_value, pair, rows, l.rank, pair, w.sums + at * pair, pair);
}

// One landmark: the tasks' sums join those of the rows before, each with its share in the softmax over all of
// them.
void join_tasks(const RowKernels& kernels, const Landmarks& l, const Workspace& w, size_t head, size_t j) {
  const size_t width = l.heads * l.head_dim, at = head * l.rank + j, offset = j * width + head * l.head_dim;
  float *largest = l.running.address() + at, *total = largest + l.heads * l.rank;
  for (size_t task = 0; task < w.tasks; ++task) {
    const size_t from = task * l.heads * l.rank + at;
    const float* sums = w.sums + from * 2 * l.head_dim;
    float *key = l.out_key.address() + offset, *value = l.out_value.address() + offset;
    if (l.first && task == 0) {
      *largest = w.largest[from];
      *total = w.total[from];
      for (size_t k = 0; k < l.head_dim; ++k) {
        key[k] = sums[k] / *total;
        value[k] = sums[l.head_dim + k] / *total;
      }
      continue;
    }
    float e[2] = {*largest, w.largest[from]};  // becomes exp of both, over the sum of both
    kernels.softmax(e, 2);
    const float all = e[0] * *total + e[1] * w.total[from];
    const float before = e[0] * *total / all, share = e[1] / all;
    for (size_t k = 0; k < l.head_dim; ++k) {
      key[k] = before * key[k] + share * sums[k];
      value[k] = before * value[k] + share * sums[l.head_dim + k];
    }
    *total = all / std::max(e[0], e[1]);
    *largest = std::max(*largest, w.largest[from]);
  }
}

}  // namespace

void CpuGroupedOps::plan(const Landmarks& l, StreamPlan* plan) const {
  Carver carver(nullptr);
  Workspace workspace(l, plan->threads, &carver);
  plan->need(carver.used());
}

void CpuGroupedOps::landmarks(Stream& stream, const Landmarks& l) const {
  const auto launched = stream.launched("landmarks", l.rows);
  const CpuStream& cpu = cpu_stream(stream);
  Carver carver(cpu.workspace());
  const Workspace w(l, cpu.threads(), &carver);
  cpu.parallel(w.tasks * l.heads, [&](size_t i, size_t thread) {
    sum_task(kernels_, l, w, i / l.heads, i % l.heads, w.scratch + thread * w.scratch_floats);
  });
  cpu.parallel(l.heads, [&](size_t head, size_t) {
    for (size_t j = 0; j < l.rank; ++j) join_tasks(kernels_.rows, l, w, head, j);
  });
}

void CpuGroupedOps::plan(const ClsAttention& a, StreamPlan* plan) const {
  Carver carver(nullptr);
  carver.take<float>(a.heads * (a.rows + 1));
  plan->need(carver.used());
}

void CpuGroupedOps::attend(Stream& stream, const ClsAttention& a) const {
  const auto launched = stream.launched("cls_attention", a.rows);
  const CpuStream& cpu = cpu_stream(stream);
  Carver carver(cpu.workspace());
  float* weights = carver.take<float>(a.heads * (a.rows + 1));
  // Heads are few: a task is a part of the rows, then a part of a head's sums.
  constexpr size_t kRows = 256;
  const size_t blocks = (a.rows + kRows - 1) / kRows;
  cpu.parallel(a.heads * blocks, [&](size_t task, size_t) {
    const size_t head = task / blocks, first = task % blocks * kRows, offset = head * a.head_dim;
    const float* query = a.query.address() + offset;
    const float* x = a.x.address() + offset;
    float* weight = weights + head * (a.rows + 1);
    if (first == 0) weight[0] = kernels_.rows.dot(query, a.key.address() + offset, a.head_dim);
    for (size_t t = first; t < std::min(a.rows, first + kRows); ++t)
      weight[1 + t] = kernels_.rows.dot(query, x + t * a.stride, a.head_dim);
  });
  cpu.parallel(a.heads, [&](size_t head, size_t) {
    kernels_.rows.softmax(weights + head * (a.rows + 1), a.rows + 1);
  });
  const size_t parts = (a.head_dim + kLanes - 1) / kLanes;
  cpu.parallel(a.heads * parts, [&](size_t task, size_t) {
    const size_t head = task / parts, from = task % parts * kLanes, offset = head * a.head_dim + from;
    const size_t n = std::min(kLanes, a.head_dim - from);
    const float* weight = weights + head * (a.rows + 1);
    const float* x = a.x.address() + offset;
    float sum[kLanes] = {};
    add_scaled(weight[0], a.value.address() + offset, n, sum);
    for (size_t t = 0; t < a.rows; ++t) add_scaled(weight[1 + t], x + t * a.stride, n, sum);
    std::memcpy(a.out.address() + offset, sum, n * sizeof(float));
  });
}

}  // namespace lsrt
