// Linear layers (runtime/device/ops_linear.h). Int8 by tensor cores, or by dot products of four for one row;
// the model's panels (kernels/gemm/gemm.h) are read where they lie.
#include "kernels/cuda/row_math.h"

namespace lsrt {
namespace cuda {

constexpr uint32_t kStepDepth = 64;  // inputs of one step of a product

LSRT_KERNEL(quantize, QuantizeParams, 128) {
  const uint32_t row = half_warp(), n = row < p.rows ? p.depth : 0;
  const uint32_t pitch = static_cast<uint32_t>(round_up(p.depth, kStepDepth));
  const float* x = p.x + uint64_t{row} * p.depth;
  float lo = 0, hi = 0;
  for (uint32_t i = half_lane(); i < n; i += kHalfWarp)
    lo = x[i] < lo ? x[i] : lo, hi = x[i] > hi ? x[i] : hi;
  hi = largest_of<kHalfWarp>(hi), lo = -largest_of<kHalfWarp>(-lo);
  if (n == 0) return;
  const RowScale scale = row_scale_of(lo, hi);
  const float inverse = 1.0f / scale.scale;
  auto* q = reinterpret_cast<uint32_t*>(p.q + uint64_t{row} * pitch);
  for (uint32_t word = half_lane(); word < pitch / 4; word += kHalfWarp) {
    q[word] = quantized_word([&](uint32_t i) { return x[i]; }, word, n, inverse, scale.zero_point);
  }
  if (half_lane() == 0) p.row_scale[row] = scale;
}

// Panels from `panel` on as a lane reads them: 4 inputs of 4 neighbouring outputs are 16 bytes.
LSRT_DEVICE uint4 panel_words(const Panels& w, uint32_t panel, uint32_t group, uint32_t quad) {
  const uint32_t groups = ceil_div(w.depth, kPanelDepth);
  if (panel >= ceil_div(w.outputs, kPanelOutputs) || group >= groups) return {0, 0, 0, 0};
  return *reinterpret_cast<const uint4*>(w.data + (uint64_t{panel} * groups + group) * kPanelGroupBytes +
                                         quad * 16);
}

template <uint32_t tiles>
struct ProductShared {
  static constexpr uint32_t kStages = 3;
  static constexpr uint32_t kPitch = kStepDepth + 16;  // rows that are read together fall on different banks
  alignas(16) int8_t q[kStages][16 * tiles][kPitch];
};

// A block makes 16 tiles x 32 warps outputs, a warp all rows of 32 columns, which are two panels. The columns
// of a panel are dealt to the four fragments of a warp so that a lane reads 16 bytes of weights and has four
// neighbouring outputs: column c of fragment j is output 16 (c / 4) + 4 (c % 4) + j.
template <uint32_t tiles, uint32_t warps>
class Product {
 public:
  using Shared = ProductShared<tiles>;

  LSRT_DEVICE Product(const ProductParams& p, Shared& shared)
      : p_(p),
        s_(shared),
        pitch_(static_cast<uint32_t>(round_up(p.weights.depth, kStepDepth))),
        row_(blockIdx.y * 16 * tiles),
        column_((blockIdx.x * warps + threadIdx.x / kWarp) * 32),
        g_(threadIdx.x % kWarp / 4),
        t_(threadIdx.x % 4) {}

  LSRT_DEVICE void run() {
    const uint32_t steps = pitch_ / kStepDepth;
    issue(0, steps);
    issue(1, steps);
    uint4 b[4], next[4];
    read_weights(0, next);
    for (uint32_t step = 0; step < steps; ++step) {
      wait_for_copies<1>();
      __syncthreads();
      issue(step + 2, steps);  // over the rows that all have read before the barrier
#pragma unroll
      for (uint32_t i = 0; i < 4; ++i) b[i] = next[i];
      if (step + 1 < steps) read_weights(step + 1, next);
      multiply(step % Shared::kStages, b);
    }
    wait_for_copies<0>();
    write();
  }

 private:
  // Rows of a step on their way to shared memory.
  LSRT_DEVICE void issue(uint32_t step, uint32_t steps) {
    if (step < steps) {
#pragma unroll
      for (uint32_t i = threadIdx.x; i < 16 * tiles * 4; i += warps * kWarp) {
        const uint32_t row = i / 4, byte = i % 4 * 16;
        const bool there = row_ + row < p_.rows;
        const int8_t* from = there ? p_.q + uint64_t{row_ + row} * pitch_ + step * kStepDepth + byte : p_.q;
        copy_async(&s_.q[step % Shared::kStages][row][byte], from, there ? 16 : 0);
      }
    }
    copies_issued();
  }

  LSRT_DEVICE void read_weights(uint32_t step, uint4 (&b)[4]) {
#pragma unroll
    for (uint32_t i = 0; i < 4; ++i) {
      b[i] = panel_words(p_.weights, column_ / kPanelOutputs + g_ / 4, step * 16 + i * 4 + t_, g_ % 4);
    }
  }

  LSRT_DEVICE void multiply(uint32_t stage, const uint4 (&b)[4]) {
    const uint32_t lane = threadIdx.x % kWarp;
#pragma unroll
    for (uint32_t half = 0; half < 2; ++half) {
      const uint4 b0 = b[2 * half], b1 = b[2 * half + 1];
#pragma unroll
      for (uint32_t i = 0; i < tiles; ++i) {
        uint32_t a[4];
        load_matrix(a, &s_.q[stage][i * 16 + lane % 16][half * 32 + lane / 16 * 16]);
        product_s8(sum_[i][0], a, b0.x, b1.x);
        product_s8(sum_[i][1], a, b0.y, b1.y);
        product_s8(sum_[i][2], a, b0.z, b1.z);
        product_s8(sum_[i][3], a, b0.w, b1.w);
      }
    }
  }

  // A lane has outputs 8 t .. of two rows a tile: output 4 e + j is column 2 t + e of fragment j.
  LSRT_DEVICE void write() {
    const Panels& w = p_.weights;
    const uint32_t n = column_ + 8 * t_;
    float scale[8], bias[8];
    int32_t weight_sum[8];
#pragma unroll
    for (uint32_t k = 0; k < 8; ++k) {
      const bool there = n + k < w.outputs;
      scale[k] = there ? w.scale[n + k] : 0.0f, weight_sum[k] = there ? w.sum[n + k] : 0;
      bias[k] = there && w.bias ? w.bias[n + k] : 0.0f;
    }
#pragma unroll
    for (uint32_t i = 0; i < tiles; ++i) {
#pragma unroll
      for (uint32_t half = 0; half < 2; ++half) {
        const uint32_t row = row_ + i * 16 + half * 8 + g_;
        if (row >= p_.rows) return;
        const RowScale row_scale = p_.row_scale[row];
        float y[8];
#pragma unroll
        for (uint32_t k = 0; k < 8; ++k) {
          const int32_t sum = sum_[i][k % 4][2 * half + k / 4];
          y[k] = dequantized(sum, weight_sum[k], row_scale, scale[k], bias[k]);
        }
        activate_all(p_.activation, y);
        store(p_.y + uint64_t{row} * w.outputs + n, y, n);
      }
    }
  }

  // In vectors where rows of y begin on 16 bytes: then four outputs are all there or none of them.
  LSRT_DEVICE void store(float* to, const float (&y)[8], uint32_t n) {
    const uint32_t outputs = p_.weights.outputs;
    if (outputs % 4 == 0) {
      if (n < outputs) reinterpret_cast<float4*>(to)[0] = {y[0], y[1], y[2], y[3]};
      if (n + 4 < outputs) reinterpret_cast<float4*>(to)[1] = {y[4], y[5], y[6], y[7]};
      return;
    }
#pragma unroll
    for (uint32_t k = 0; k < 8; ++k) {
      if (n + k < outputs) to[k] = y[k];
    }
  }

  const ProductParams& p_;
  Shared& s_;
  const uint32_t pitch_, row_, column_, g_, t_;  // lane 4 g + t
  int32_t sum_[tiles][4][4] = {};
};

LSRT_KERNEL(product_16, ProductParams, 32) {
  LSRT_SHARED(ProductShared<1>, s);
  Product<1, 1>(p, s).run();
}

LSRT_KERNEL(product_64, ProductParams, 128) {
  LSRT_SHARED(ProductShared<4>, s);
  Product<4, 4>(p, s).run();
}

struct GemvShared {
  float lo[4], hi[4];  // of each warp
  int32_t sum[4][kPanelOutputs];
};

// A block makes one panel of one row, which it quantizes for itself. A lane has four neighbouring outputs of
// every 32nd group of inputs; the first weights are on their way while the row is quantized.
LSRT_KERNEL(gemv, GemvParams, 128) {
  LSRT_SHARED(GemvShared, s);
  LSRT_DYNAMIC_SHARED(shared);
  auto* q = reinterpret_cast<uint32_t*>(shared);
  const uint32_t depth = p.weights.depth, groups = ceil_div(depth, kPanelDepth);
  const uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, quad = lane % 4;
  constexpr uint32_t kAhead = 4;
  uint4 ahead[kAhead];
#pragma unroll
  for (uint32_t i = 0; i < kAhead; ++i) {
    ahead[i] = panel_words(p.weights, blockIdx.x, warp * 8 + lane / 4 + i * 32, quad);
  }

  float lo = 0, hi = 0;
  for (uint32_t i = threadIdx.x; i < depth; i += blockDim.x) {
    lo = p.x[i] < lo ? p.x[i] : lo, hi = p.x[i] > hi ? p.x[i] : hi;
  }
  hi = largest_of<kWarp>(hi), lo = -largest_of<kWarp>(-lo);
  if (lane == 0) s.lo[warp] = lo, s.hi[warp] = hi;
  __syncthreads();
#pragma unroll
  for (uint32_t i = 0; i < 4; ++i) lo = min_of(s.lo[i], lo), hi = max_of(s.hi[i], hi);
  const RowScale scale = row_scale_of(lo, hi);
  const float inverse = 1.0f / scale.scale;
  for (uint32_t word = threadIdx.x; word < groups; word += blockDim.x) {
    q[word] = quantized_word([&](uint32_t i) { return p.x[i]; }, word, depth, inverse, scale.zero_point);
  }
  __syncthreads();

  int32_t sum[4] = {};
  const auto multiply = [&](const uint4& w, uint32_t group) {
    if (group >= groups) return;
    const auto x = static_cast<int32_t>(q[group]);
    sum[0] = __dp4a(static_cast<int32_t>(w.x), x, sum[0]);
    sum[1] = __dp4a(static_cast<int32_t>(w.y), x, sum[1]);
    sum[2] = __dp4a(static_cast<int32_t>(w.z), x, sum[2]);
    sum[3] = __dp4a(static_cast<int32_t>(w.w), x, sum[3]);
  };
#pragma unroll
  for (uint32_t i = 0; i < kAhead; ++i) multiply(ahead[i], warp * 8 + lane / 4 + i * 32);
#pragma unroll 4
  for (uint32_t group = warp * 8 + lane / 4 + kAhead * 32; group < groups; group += 32) {
    multiply(panel_words(p.weights, blockIdx.x, group, quad), group);
  }
#pragma unroll
  for (uint32_t j = 0; j < 4; ++j) {
#pragma unroll
    for (int bits = 4; bits < 32; bits *= 2) sum[j] += __shfl_xor_sync(kAllLanes, sum[j], bits);
    if (lane < 4) s.sum[warp][4 * lane + j] = sum[j];
  }
  __syncthreads();
  const uint32_t n = blockIdx.x * kPanelOutputs + threadIdx.x;
  if (threadIdx.x >= kPanelOutputs || n >= p.weights.outputs) return;
  int32_t total = 0;
  for (uint32_t i = 0; i < 4; ++i) total += s.sum[i][threadIdx.x];
  const float bias = p.weights.bias ? p.weights.bias[n] : 0.0f;
  p.y[n] = activate(p.activation, dequantized(total, p.weights.sum[n], scale, p.weights.scale[n], bias));
}

LSRT_KERNEL(float_linear, FloatLinearParams, 256) {
  for (uint64_t item = first_item(); item < uint64_t{p.rows} * p.outputs; item += all_threads()) {
    const uint64_t row = item / p.outputs, n = item % p.outputs;
    const float y = dot(p.x + row * p.inputs, p.weight + n * p.inputs, p.inputs);
    p.y[item] = activate(p.activation, p.bias ? y + p.bias[n] : y);
  }
}

}  // namespace cuda
}  // namespace lsrt
