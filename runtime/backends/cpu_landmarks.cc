// Landmark rows and the attention of the cls row on the CPU: float32, in one fixed order.
#include <algorithm>
#include <cstring>

#include "runtime/backends/cpu.h"
#include "runtime/backends/cpu_lanes.h"

namespace lsrt {

namespace {

// Rows whose weights and elements stay in the L1 cache while all landmarks pass over them.
constexpr size_t kRowBlock = 64;

// Weights lie landmark after landmark; were they a power of two apart, they would fight for the same cache
// lines.
size_t weight_stride(const Landmarks& l) { return round_up(l.rows, kLanes) + kLanes; }

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

}  // namespace

size_t CpuBackend::landmarks_workspace_bytes(const Landmarks& l, size_t) const {
  return l.heads * l.rank * weight_stride(l) * sizeof(float);
}

void CpuBackend::landmarks(Stream& stream, const Landmarks& l) {
  const CpuStream& cpu = static_cast<CpuStream&>(stream);
  auto* weight = reinterpret_cast<float*>(cpu.workspace());  // [heads * rank, stride]
  const size_t stride = weight_stride(l);
  cpu.parallel(l.heads, [&](size_t head, size_t) {
    float* w = weight + head * l.rank * stride;
    for (size_t t = 0; t < l.rows; ++t) {
      for (size_t j = 0; j < l.rank; ++j) w[j * stride + t] = l.score[t * l.stride + head * l.rank + j];
    }
    for (size_t j = 0; j < l.rank; ++j) kernels_.rows.softmax(w + j * stride, l.rows);
  });

  const size_t width = l.heads * l.head_dim;
  cpu.parallel(2 * l.heads, [&](size_t task, size_t) {
    const size_t head = task / 2, offset = head * l.head_dim;
    const float* x = (task % 2 ? l.value : l.key) + offset;
    float* out = (task % 2 ? l.out_value : l.out_key) + offset;
    const float* w = weight + head * l.rank * stride;
    for (size_t j = 0; j < l.rank; ++j) std::memset(out + j * width, 0, l.head_dim * sizeof(float));
    for (size_t t = 0; t < l.rows; t += kRowBlock) {
      const size_t rows = std::min(kRowBlock, l.rows - t);
      for (size_t j = 0; j < l.rank; ++j) {
        add_weighted_rows(w + j * stride + t, x + t * l.stride, l.stride, rows, l.head_dim, out + j * width);
      }
    }
  });
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
