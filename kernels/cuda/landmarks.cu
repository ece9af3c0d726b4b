// Landmark rows, the attention of the cls row, convolution along a document (runtime/device/ops_grouped.h)
// and what is done to pictures (runtime/device/ops_image.h): float32, in the order of the CPU.
#include "kernels/cuda/row_math.h"

namespace lsrt {
namespace cuda {

struct LandmarkShared {
  static constexpr uint32_t kTile = 32;  // landmarks at a time
  float weight[kLandmarkRows][kTile];
  float largest[kTile];
};

// A block takes a head of a block of rows.
LSRT_KERNEL(landmark_sums, LandmarkSumsParams, 128) {
  LSRT_SHARED(LandmarkShared, s);
  constexpr uint32_t kTile = LandmarkShared::kTile;
  const uint32_t head = blockIdx.y, first = blockIdx.x * kLandmarkRows, dim = p.head_dim;
  const uint32_t rows = smaller(kLandmarkRows, p.rows - first);
  const uint64_t columns = uint64_t{gridDim.x} * p.heads * p.rank;  // of all blocks
  const uint64_t at = (uint64_t{blockIdx.x} * p.heads + head) * p.rank;
  float *largest = p.partial + at, *total = largest + columns, *sums = p.partial + 2 * columns + at * 2 * dim;
  const float* score = p.score + first * p.stride + head * p.rank;
  const float* key = p.key + first * p.stride + head * dim;
  const float* value = p.value + first * p.stride + head * dim;
  for (uint32_t from = 0; from < p.rank; from += kTile) {
    const uint32_t n = smaller(kTile, p.rank - from);
    if (threadIdx.x < n) {
      float m = kMaskedScore;
      for (uint32_t t = 0; t < rows; ++t) m = max_of(score[t * p.stride + from + threadIdx.x], m);
      s.largest[threadIdx.x] = largest[from + threadIdx.x] = m;
    }
    __syncthreads();
    for (uint32_t item = threadIdx.x; item < rows * n; item += blockDim.x) {
      const uint32_t t = item / n, j = item % n;
      s.weight[t][j] = exp_negative(score[t * p.stride + from + j] - s.largest[j]);
    }
    __syncthreads();
    if (threadIdx.x < n) {
      float sum = 0;
      for (uint32_t t = 0; t < rows; ++t) sum += s.weight[t][threadIdx.x];
      total[from + threadIdx.x] = sum;
    }
    for (uint32_t item = threadIdx.x; item < n * 2 * dim; item += blockDim.x) {
      const uint32_t j = item / (2 * dim), k = item % (2 * dim);
      const float* x = k < dim ? key + k : value + k - dim;
      float sum = 0;
      for (uint32_t t = 0; t < rows; ++t) sum = fmaf(s.weight[t][j], x[t * p.stride], sum);
      sums[uint64_t{from + j} * 2 * dim + k] = sum;
    }
  }
}

// A block takes a head of a landmark: the blocks' sums join those of the rows before, each with its share in
// the softmax over all of them.
LSRT_KERNEL(landmark_join, LandmarkJoinParams, 64) {
  const uint32_t head = blockIdx.y, j = blockIdx.x, dim = p.head_dim,
                 blocks = ceil_div(p.rows, kLandmarkRows);
  const uint64_t at = uint64_t{head} * p.rank + j, columns = uint64_t{p.heads} * p.rank;
  float largest = p.first ? 0 : p.running[at], total = p.first ? 0 : p.running[columns + at];
  __syncthreads();  // all have read what one will write
  const uint64_t offset = (uint64_t{j} * p.heads + head) * dim;
  for (uint32_t block = 0; block < blocks; ++block) {
    const uint64_t from = block * columns + at;
    const float block_largest = p.partial[from], block_total = p.partial[blocks * columns + from];
    const float* sums = p.partial + 2 * blocks * columns + from * 2 * dim;
    if (p.first && block == 0) {
      largest = block_largest, total = block_total;
      for (uint32_t k = threadIdx.x; k < dim; k += blockDim.x) {
        p.out_key[offset + k] = sums[k] / total;
        p.out_value[offset + k] = sums[dim + k] / total;
      }
      continue;
    }
    const float most = max_of(block_largest, max_of(largest, kMaskedScore));
    float before_e = exp_negative(largest - most), block_e = exp_negative(block_largest - most);
    const float inverse = 1.0f / (before_e + block_e);
    before_e *= inverse, block_e *= inverse;
    const float all = before_e * total + block_e * block_total;
    const float before = before_e * total / all, share = block_e / all;
    for (uint32_t k = threadIdx.x; k < dim; k += blockDim.x) {
      p.out_key[offset + k] = before * p.out_key[offset + k] + share * sums[k];
      p.out_value[offset + k] = before * p.out_value[offset + k] + share * sums[dim + k];
    }
    total = all / (before_e < block_e ? block_e : before_e);
    largest = largest < block_largest ? block_largest : largest;
  }
  if (threadIdx.x == 0) p.running[at] = largest, p.running[columns + at] = total;
}

struct ClsShared {
  float largest[8];
  float inverse;
};

// A block takes a head.
LSRT_KERNEL(cls_attend, ClsAttendParams, 256) {
  LSRT_SHARED(ClsShared, s);
  const uint32_t offset = blockIdx.x * p.head_dim, n = p.rows + 1;
  float* weight = p.weights + uint64_t{blockIdx.x} * n;
  const auto row = [&](uint32_t t, const float* cls) {
    return t == 0 ? cls + offset : p.x + (t - 1) * p.stride + offset;
  };
  float largest = kMaskedScore;
  for (uint32_t t = threadIdx.x; t < n; t += blockDim.x) {
    weight[t] = dot(p.query + offset, row(t, p.key), p.head_dim);
    largest = max_of(weight[t], largest);
  }
  largest = largest_of<kWarp>(largest);
  if (threadIdx.x % kWarp == 0) s.largest[threadIdx.x / kWarp] = largest;
  __syncthreads();
  for (uint32_t warp = 0; warp < 8; ++warp) largest = max_of(s.largest[warp], largest);
  for (uint32_t t = threadIdx.x; t < n; t += blockDim.x) weight[t] = exp_negative(weight[t] - largest);
  __syncthreads();
  if (threadIdx.x < kWarp) {
    const float sum = lane_sum(n, [&](uint32_t t, float total) { return total + weight[t]; });
    if (threadIdx.x == 0) s.inverse = 1.0f / sum;
  }
  __syncthreads();
  for (uint32_t k = threadIdx.x; k < p.head_dim; k += blockDim.x) {
    float sum = 0;
    for (uint32_t t = 0; t < n; ++t) sum += weight[t] * s.inverse * row(t, p.value)[k];
    p.out[offset + k] = sum;
  }
}

LSRT_KERNEL(convolution, ConvolutionParams, 256) {
  const uint32_t width = p.heads * p.head_dim;
  for (uint64_t item = first_item(); item < uint64_t{p.rows} * width; item += all_threads()) {
    const uint32_t row = p.first + static_cast<uint32_t>(item / width),
                   k = static_cast<uint32_t>(item % width);
    float sum = p.out[uint64_t{row} * width + k];
    for (uint32_t i = 0; i < p.kernel; ++i) {
      const int64_t from = int64_t{p.position_of[row]} + i - p.kernel / 2;
      if (from < 0 || from >= p.positions || p.row_at[from] < 0) continue;
      sum += p.weight[k / p.head_dim * p.kernel + i] *
             p.value[static_cast<uint64_t>(p.row_at[from]) * width + k];
    }
    p.out[uint64_t{row} * width + k] = sum;
  }
}

LSRT_KERNEL(patches, PatchesParams, 256) {
  const uint64_t side = uint64_t{p.grid} * p.patch, size = uint64_t{p.channels} * p.patch * p.patch;
  for (uint64_t item = first_item(); item < p.grid * p.grid * size; item += all_threads()) {
    const uint64_t i = item / size, c = item % size / p.patch / p.patch;
    const uint64_t y = i / p.grid * p.patch + item / p.patch % p.patch,
                   x = i % p.grid * p.patch + item % p.patch;
    p.patches[item] =
        p.rows_layout ? p.data[(y * side + x) * p.channels + c] : p.data[(c * side + y) * side + x];
  }
}

}  // namespace cuda
}  // namespace lsrt
