// CUDA kernels of images and documents return the bits of the CPU's launches.
#include <memory>

#include "tests/cuda/emulated.h"
#include "tests/support/backends.h"

namespace {

using namespace lsrt_test;
using lsrt::Dev;
namespace cuda = lsrt::cuda;

template <typename T>
Dev<T> dev(const DeviceArray<T>& array) {
  return Dev<T>(array.data());
}

struct Cpu {
  std::shared_ptr<lsrt::Backend> backend = cpu(nullptr, "scalar");
  const lsrt::GroupedOps& ops = *backend->ops().grouped;

  template <typename Shape>
  std::unique_ptr<lsrt::Stream> stream(const Shape& shape) const {
    lsrt::StreamPlan plan;
    ops.plan(shape, &plan);
    return take(backend->create_stream(plan));
  }
};

// Keys and values of CUDA.
struct StoreArrays {
  DeviceArray<int8_t> keys8, values8;
  DeviceArray<float> keys, values, key_scale, value_scale;
  DeviceArray<int32_t> key_sum;
  cuda::Store store;

  StoreArrays(uint32_t heads, uint32_t dim, uint32_t rows, bool int8)
      : keys8(int8 ? heads * rows * lsrt::round_up(dim, 4) : 0, 55),
        values8(keys8.size(), 55),
        keys(int8 ? 0 : heads * rows * dim),
        values(keys.size()),
        key_scale(int8 ? heads * rows : 0),
        value_scale(key_scale.size()),
        key_sum(key_scale.size()),
        store{int8 ? static_cast<void*>(keys8.data()) : keys.data(),
              int8 ? static_cast<void*>(values8.data()) : values.data(),
              key_scale.data(),
              value_scale.data(),
              key_sum.data(),
              rows,
              heads,
              dim} {}
};

struct Shape {
  uint32_t heads, dim, rows, globals, groups, group_queries, group_keys, bias_run;
  bool int8;
  uint32_t first_head = 0, some_heads = 0;  // that attend; none: all
};

void compare_attention(const Shape& s, uint64_t seed) {
  Random random(seed);
  const Cpu cpu;
  const uint32_t width = s.heads * s.dim, stride = 2 * width + 3;
  const DeviceArray<float> key_value(floats(random, s.rows * stride));
  DeviceArray<float> query(floats(random, s.rows * (width + 1))), a(s.rows * width, 9.0f),
      b(s.rows * width, 9.0f);
  DeviceArray<int32_t> query_rows(s.groups * s.group_queries, -1), key_rows(s.groups * s.group_keys, -1);
  for (size_t i = 0; i < query_rows.size() && i < s.rows; ++i) {
    if (random.chance(85)) query_rows[i] = static_cast<int32_t>(i);
  }
  for (uint32_t i = 0; i < key_rows.size(); ++i) {
    if (i % s.group_keys == 0 || random.chance(70))
      key_rows[i] = static_cast<int32_t>(random.in(0, s.rows - 1));
  }
  const uint32_t runs = s.bias_run ? cuda::ceil_div(s.group_keys, s.bias_run) : 0, bias_stride = 40;
  const DeviceArray<float> bias(floats(random, s.heads * bias_stride));
  DeviceArray<int32_t> offsets(s.group_queries * runs);
  for (size_t i = 0; i < offsets.size(); ++i) {
    offsets[i] = static_cast<int32_t>(random.in(0, bias_stride - s.bias_run));
  }

  lsrt::GroupedAttention attention{};
  attention.store = {s.heads, s.dim, s.rows, s.int8, Dev<void>()};
  const DeviceArray<uint64_t> memory((cpu.ops.key_value_bytes(attention.store) + 7) / 8);
  attention.store.memory = Dev<void>(memory.data());
  attention.first_head = s.first_head, attention.some_heads = s.some_heads;
  attention.query = dev(query), attention.query_stride = width + 1;
  attention.global_first = s.rows - s.globals, attention.globals = s.globals;
  attention.groups = s.groups, attention.group_queries = s.group_queries, attention.group_keys = s.group_keys;
  attention.query_rows = dev(query_rows), attention.key_rows = dev(key_rows);
  if (s.bias_run) {
    attention.bias = dev(bias), attention.bias_offsets = dev(offsets);
    attention.bias_stride = bias_stride, attention.bias_run = s.bias_run;
  }
  attention.out = dev(a), attention.out_stride = width;
  const auto stream = cpu.stream(attention);
  const StoreArrays arrays(s.heads, s.dim, s.rows, s.int8);
  const uint32_t some = s.rows / 2;  // in two launches
  for (const auto& [first, rows] : {std::pair(0u, some), std::pair(some, s.rows - some)}) {
    const float *key = key_value.data() + first * stride, *value = key + width + 2;
    cpu.ops.store_key_values(*stream, attention.store, first, rows, Dev<const float>(key),
                             Dev<const float>(value), stride);
    if (rows) launch(cuda::StoreRowsParams{arrays.store, key, value, stride, first, rows});
  }
  cpu.ops.attend(*stream, attention);
  cuda::GroupedAttendParams p{arrays.store,
                              query.data(),
                              query_rows.data(),
                              key_rows.data(),
                              offsets.data(),
                              s.bias_run ? bias.data() : nullptr,
                              b.data(),
                              nullptr,
                              width + 1,
                              width,
                              bias_stride,
                              s.bias_run,
                              static_cast<uint32_t>(attention.global_first),
                              s.globals,
                              s.groups,
                              s.group_queries,
                              s.group_keys,
                              s.first_head,
                              s.some_heads ? s.some_heads : s.heads};
  const DeviceArray<uint8_t> scratch(cuda::attend_scratch_bytes(p));
  p.scratch = scratch.data();
  launch(p);
  REQUIRE(same_floats(a.data(), b.data(), a.size()));
}

TEST_CASE("grouped attention") {
  for (const bool int8 : {true, false}) {
    compare_attention({2, 20, 30, 3, 5, 6, 17, 5, int8}, 1);
    compare_attention({1, 16, 40, 0, 2, 20, 40, 0, int8}, 2);
    compare_attention({3, 33, 12, 1, 12, 1, 3, 3, int8}, 3);
    compare_attention({1, 5, 700, 7, 1, 3, 700, 0, int8}, 4);
    compare_attention({1, 8, 3000, 0, 1, 5, 3000, 0, int8}, 5);  // more than shared memory holds
    compare_attention({5, 12, 30, 0, 3, 6, 17, 5, int8, 1, 3}, 6);
    compare_attention({4, 7, 40, 2, 1, 20, 40, 0, int8, 3, 1}, 7);
  }
}

TEST_CASE("landmarks, in launches of blocks of rows") {
  for (const uint32_t rank : {1, 5, 33}) {
    Random random(rank);
    const Cpu cpu;
    constexpr uint32_t kHeads = 2, kDim = 19, kRows = 150;
    const uint32_t width = kHeads * kDim, stride = 2 * width + kHeads * rank;
    const DeviceArray<float> x(floats(random, kRows * stride, 5));
    const DeviceArray<float> running(2 * kHeads * rank), key(rank * width), value(rank * width);
    const DeviceArray<float> running2(running.size()), key2(key.size()), value2(value.size());
    for (const auto& [first, rows] : {std::pair(0u, 64u), std::pair(64u, 86u)}) {
      const float *score = x.data() + first * stride, *k = score + kHeads * rank, *v = k + width;
      const lsrt::Landmarks landmarks{kHeads,
                                      kDim,
                                      rank,
                                      rows,
                                      Dev<const float>(score),
                                      Dev<const float>(k),
                                      Dev<const float>(v),
                                      stride,
                                      first == 0,
                                      dev(running),
                                      dev(key),
                                      dev(value)};
      cpu.ops.landmarks(*cpu.stream(landmarks), landmarks);
      cuda::LandmarkSumsParams sums{score, k, v, nullptr, stride, kHeads, kDim, rank, rows};
      const DeviceArray<float> partial(cuda::landmark_floats(sums));
      sums.partial = partial.data();
      launch(sums);
      launch(cuda::LandmarkJoinParams{partial.data(), running2.data(), key2.data(), value2.data(), kHeads,
                                      kDim, rank, rows, first == 0});
      REQUIRE(same_floats(running.data(), running2.data(), running.size()));
      REQUIRE(same_floats(key.data(), key2.data(), key.size()));
      REQUIRE(same_floats(value.data(), value2.data(), value.size()));
    }
  }
}

TEST_CASE("the cls row") {
  Random random(8);
  const Cpu cpu;
  for (const uint32_t rows : {1, 40, 300}) {
    constexpr uint32_t kHeads = 2, kDim = 21, kWidth = kHeads * kDim;
    const DeviceArray<float> cls(floats(random, 3 * kWidth)), x(floats(random, rows * (kWidth + 4)));
    const DeviceArray<float> a(kWidth), b(kWidth), weights(kHeads * (rows + 1));
    const lsrt::ClsAttention attention{kHeads,
                                       kDim,
                                       rows,
                                       Dev<const float>(cls.data()),
                                       Dev<const float>(cls.data() + kWidth),
                                       Dev<const float>(cls.data() + 2 * kWidth),
                                       dev(x),
                                       kWidth + 4,
                                       dev(a)};
    cpu.ops.attend(*cpu.stream(attention), attention);
    launch(cuda::ClsAttendParams{cls.data(), cls.data() + kWidth, cls.data() + 2 * kWidth, x.data(),
                                 weights.data(), b.data(), kWidth + 4, kHeads, kDim, rows});
    REQUIRE(same_floats(a.data(), b.data(), kWidth));
  }
}

TEST_CASE("convolution along a document") {
  Random random(9);
  const Cpu cpu;
  constexpr uint32_t kHeads = 3, kDim = 7, kWidth = kHeads * kDim, kKernel = 5, kRows = 12, kPositions = 10;
  const DeviceArray<float> weight(floats(random, kHeads * kKernel)), value(floats(random, kRows * kWidth));
  const std::vector<float> out = floats(random, kRows * kWidth);
  const DeviceArray<float> a(out), b(out);
  const DeviceArray<int32_t> row_at(std::vector<int32_t>{0, 1, 2, -1, 4, 5, 6, 7, 8, 9});
  const DeviceArray<int32_t> position_of(std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 9});
  const lsrt::Convolution c{kHeads,           kDim,       kKernel, dev(weight), dev(value), dev(row_at),
                            dev(position_of), kPositions, 1,       kRows - 1,   dev(a)};
  cpu.ops.convolve(*take(cpu.backend->create_stream({})), c);
  launch(cuda::ConvolutionParams{weight.data(), value.data(), row_at.data(), position_of.data(), b.data(),
                                 kHeads, kDim, kKernel, kPositions, 1, kRows - 1});
  REQUIRE(same_floats(a.data(), b.data(), a.size()));
}

TEST_CASE("patches of a picture") {
  Random random(10);
  const Cpu cpu;
  constexpr uint32_t kChannels = 3, kGrid = 3, kPatch = 5, kSide = kGrid * kPatch;
  const DeviceArray<float> data(floats(random, kChannels * kSide * kSide)), a(data.size()), b(data.size());
  for (const bool by_rows : {false, true}) {
    using Layout = lsrt::PatchSource::Layout;
    const lsrt::PatchSource source{by_rows ? Layout::kRows : Layout::kPlanes, dev(data), kChannels, kGrid,
                                   kPatch};
    cpu.backend->ops().image->extract_patches(*take(cpu.backend->create_stream({})), source, dev(a));
    launch(cuda::PatchesParams{data.data(), b.data(), kChannels, kGrid, kPatch, by_rows});
    REQUIRE(same_floats(a.data(), b.data(), a.size()));
  }
}

}  // namespace
