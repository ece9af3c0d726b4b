// Attention within groups, landmarks, the cls row and convolution on CUDA.
#include "runtime/device/cuda/cuda.h"
#include "runtime/device/cuda/params.h"
#include "runtime/device/device_carver.h"

namespace lsrt {
namespace {

struct StoredRows {
  cuda::Store store{};
  size_t bytes;

  StoredRows(const KeyValueStore& s, DeviceCarver carver) {
    store.rows = word(s.rows), store.heads = word(s.heads), store.head_dim = word(s.head_dim);
    if (s.int8) {
      const size_t numbers = s.heads * s.rows, elements = numbers * round_up(s.head_dim, kPanelDepth);
      store.keys = carver.take<int8_t>(elements).address();
      store.values = carver.take<int8_t>(elements).address();
      store.key_scale = carver.take<float>(numbers).address();
      store.value_scale = carver.take<float>(numbers).address();
      store.key_sum = carver.take<int32_t>(numbers).address();
    } else {
      store.keys = carver.take<float>(s.rows * s.width()).address();
      store.values = carver.take<float>(s.rows * s.width()).address();
    }
    bytes = carver.used();
  }
};

cuda::GroupedAttendParams attend_params(const GroupedAttention& a, const cuda::Store& store) {
  return {store,
          a.query.address(),
          a.query_rows.address(),
          a.key_rows.address(),
          a.bias_offsets.address(),
          a.bias.address(),
          a.out.address(),
          nullptr,
          a.query_stride,
          a.out_stride,
          a.bias_stride,
          word(a.bias_run),
          word(a.global_first),
          word(a.globals),
          word(a.groups),
          word(a.group_queries),
          word(a.group_keys),
          word(a.first_head),
          word(a.heads())};
}

}  // namespace

size_t CudaGroupedOps::key_value_bytes(const KeyValueStore& shape) const {
  return StoredRows(shape, DeviceCarver()).bytes;
}

void CudaGroupedOps::store_key_values(Stream& stream, const KeyValueStore& store, size_t first, size_t rows,
                                      Dev<const float> key, Dev<const float> value, size_t stride) const {
  const auto launched = stream.launched("store_key_values", rows);
  const StoredRows stored(store, DeviceCarver(backend_, store.memory));
  cuda_stream(stream).launch(
      cuda::StoreRowsParams{stored.store, key.address(), value.address(), stride, word(first), word(rows)});
}

// Fewer queries, keys or groups need no more: scratch is for at most kScratchBlocks blocks, each for its
// keys.
void CudaGroupedOps::plan(const GroupedAttention& a, StreamPlan* plan) const {
  const StoredRows stored(a.store, DeviceCarver());
  plan->need(cuda::attend_scratch_bytes(attend_params(a, stored.store)));
}

void CudaGroupedOps::attend(Stream& stream, const GroupedAttention& a) const {
  const auto launched = stream.launched("grouped_attention", a.groups * a.group_queries);
  const CudaStream& cuda = cuda_stream(stream);
  const StoredRows stored(a.store, DeviceCarver(backend_, a.store.memory));
  cuda::GroupedAttendParams p = attend_params(a, stored.store);
  p.scratch = cuda::attend_scratch_bytes(p) ? cuda.workspace().address() : nullptr;
  cuda.launch(p);
}

namespace {

cuda::LandmarkSumsParams sums_params(const Landmarks& l, float* partial) {
  return {l.score.address(), l.key.address(),  l.value.address(), partial,     l.stride,
          word(l.heads),     word(l.head_dim), word(l.rank),      word(l.rows)};
}

}  // namespace

void CudaGroupedOps::plan(const Landmarks& l, StreamPlan* plan) const {
  plan->need(cuda::landmark_floats(sums_params(l, nullptr)) * sizeof(float));
}

void CudaGroupedOps::landmarks(Stream& stream, const Landmarks& l) const {
  const auto launched = stream.launched("landmarks", l.rows);
  const CudaStream& cuda = cuda_stream(stream);
  float* partial = cuda.workspace().as<float>().address();
  cuda.launch(sums_params(l, partial));
  cuda.launch(cuda::LandmarkJoinParams{partial, l.running.address(), l.out_key.address(),
                                       l.out_value.address(), word(l.heads), word(l.head_dim), word(l.rank),
                                       word(l.rows), l.first});
}

void CudaGroupedOps::plan(const ClsAttention& a, StreamPlan* plan) const {
  plan->need(a.heads * (a.rows + 1) * sizeof(float));
}

void CudaGroupedOps::attend(Stream& stream, const ClsAttention& a) const {
  const auto launched = stream.launched("cls_attention", a.rows);
  const CudaStream& cuda = cuda_stream(stream);
  cuda.launch(cuda::ClsAttendParams{a.query.address(), a.key.address(), a.value.address(), a.x.address(),
                                    cuda.workspace().as<float>().address(), a.out.address(), a.stride,
                                    word(a.heads), word(a.head_dim), word(a.rows)});
}

void CudaGroupedOps::convolve(Stream& stream, const Convolution& c) const {
  const auto launched = stream.launched("convolve", c.rows);
  cuda_stream(stream).launch(cuda::ConvolutionParams{
      c.weight.address(), c.value.address(), c.row_at.address(), c.position_of.address(), c.out.address(),
      word(c.heads), word(c.head_dim), word(c.kernel), word(c.positions), word(c.first), word(c.rows)});
}

}  // namespace lsrt
