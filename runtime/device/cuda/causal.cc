// Causal long-short attention on CUDA. The caches are those of kernels/cuda/params.h.
#include "runtime/device/causal_exchange.h"
#include "runtime/device/cuda/cuda.h"
#include "runtime/device/cuda/params.h"
#include "runtime/device/device_carver.h"

namespace lsrt {
namespace {

size_t qkv_width(const CausalShape& s) { return 3 * s.width() + s.heads * s.rank; }

cuda::Cache take_cache(const CausalShape& s, size_t rows, DeviceCarver* carver) {
  const size_t capacity = round_up(rows, kPanelOutputs), numbers = s.heads * capacity;
  cuda::Cache cache{};
  cache.capacity = word(capacity);
  if (!s.int8) {
    cache.keys = carver->take<float>(numbers * s.head_dim).address();
    cache.values = carver->take<float>(numbers * s.head_dim).address();
    return cache;
  }
  cache.keys = carver->take<int8_t>(numbers * round_up(s.head_dim, kPanelDepth)).address();
  cache.values = carver->take<int8_t>(numbers * round_up(s.head_dim, kPanelOutputs)).address();
  cache.key_scale = carver->take<float>(numbers).address();
  cache.value_scale = carver->take<float>(numbers).address();
  cache.key_sum = carver->take<int32_t>(numbers).address();
  return cache;
}

// One layer's state.
struct State {
  cuda::Cache window, memory, block, zero_window, zero_summary;
  Dev<float> pending_x, pending_kv;
  size_t bytes;

  State(const CausalShape& s, DeviceCarver carver) {
    window = take_cache(s, s.window ? s.window + s.max_rows : 0, &carver);
    memory = take_cache(s, s.memory_summaries() + s.block_summaries(), &carver);
    block = take_cache(s, s.block_summaries(), &carver);
    zero_window = take_cache(s, 1, &carver);
    zero_summary = take_cache(s, 1, &carver);
    pending_x = carver.take<float>(s.rank ? s.chunk * s.width() : 0);
    pending_kv = carver.take<float>(s.rank ? s.chunk * CausalExchange::pending_kv_width(s) : 0);
    bytes = carver.used();
  }
};

cuda::CausalExtents extents(const CausalShape& s) {
  return {word(s.heads), word(s.head_dim), word(s.window), word(s.chunk),
          word(s.rank),  word(s.block),    word(s.memory), word(s.max_rows)};
}

cuda::Positions positions(const DeviceTensor& table) {
  return {table.data.address(), table.scales.address(), table.sums.address(), table.shape[1]};
}

const uint64_t* position_of(const CausalStep& step) { return &step.numbers.address()->position; }

// Rows of the qkv layer to a cache.
cuda::CausalStoreParams store(const CausalShape& s, const cuda::Cache& cache, const DeviceNorm& norm,
                              const uint64_t* position, Dev<const float> qkv, size_t rows) {
  cuda::CausalStoreParams p{};
  p.cache = cache, p.norm = cuda_norm(norm), p.position = position;
  p.key = (qkv + s.width()).address(), p.value = (qkv + 2 * s.width()).address(), p.stride = qkv_width(s);
  p.divide = p.times = 1;
  p.rows = word(rows), p.heads = word(s.heads), p.head_dim = word(s.head_dim);
  p.chunk = word(s.chunk), p.rank = word(s.rank);
  return p;
}

cuda::CausalAttendParams attend_params(const CausalLayer& layer, const State& state, size_t rows) {
  cuda::CausalAttendParams p{};
  p.extents = extents(layer.shape);
  p.window = state.window, p.memory = state.memory, p.block = state.block;
  p.zero_window = state.zero_window, p.zero_summary = state.zero_summary;
  p.window_positions = positions(layer.window_positions),
  p.chunk_positions = positions(layer.chunk_positions);
  p.content_bias = layer.content_bias.address(), p.position_bias = layer.position_bias.address();
  p.rows = word(rows);
  return p;
}

}  // namespace

size_t CudaCausalOps::state_bytes(const CausalShape& shape) const {
  return State(shape, DeviceCarver()).bytes;
}

void CudaCausalOps::plan(const CausalShape& s, StreamPlan* plan) const {
  if (s.rank) {
    const size_t summaries = (s.max_rows / s.chunk + 1) * s.rank;
    plan->need(summaries * cuda::compress_scratch_floats(extents(s)) * sizeof(float));
  }
  CausalLayer layer{};
  layer.shape = s;
  const State state(s, DeviceCarver());
  for (const size_t rows : {size_t{1}, s.max_rows}) {
    plan->need(cuda::attend_scratch_bytes(attend_params(layer, state, rows)));
  }
  // Fewer rows than a tile, more than one: as much as a whole tile at most.
  plan->need(cuda::attend_scratch_bytes(
      attend_params(layer, state, std::min<size_t>(s.max_rows, cuda::kAttendTile))));
}

void CudaCausalOps::reset(Stream& stream, const CausalLayer& layer, Dev<const float> zero_qkv) const {
  const auto launched = stream.launched("causal_reset", 1);
  const CudaStream& cuda = cuda_stream(stream);
  const State state(layer.shape, DeviceCarver(backend_, layer.state));
  if (layer.shape.window) {
    cuda.launch(store(layer.shape, state.zero_window, layer.norm_window, nullptr, zero_qkv, 1));
  }
  if (layer.shape.rank) {
    cuda.launch(store(layer.shape, state.zero_summary, layer.norm_summary, nullptr, zero_qkv, 1));
  }
}

void CudaCausalOps::append(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                           Dev<float> compressed) const {
  const auto launched = stream.launched("causal_append", step.rows);
  const CudaStream& cuda = cuda_stream(stream);
  const CausalShape& s = layer.shape;
  const State state(s, DeviceCarver(backend_, layer.state));
  if (s.rank && step.completed) {  // before what is pending is overwritten
    cuda.launch(cuda::CausalCompressParams{
        extents(s), state.block, cuda_norm(layer.norm_summary), position_of(step), step.x.address(),
        step.qkv.address(), state.pending_x.address(), state.pending_kv.address(), compressed.address(),
        cuda.workspace().as<float>().address(), word(step.completed)});
  }
  cuda::CausalStoreParams p =
      store(s, state.window, layer.norm_window, position_of(step), step.qkv, step.rows);
  if (s.window == 0) p.cache.keys = nullptr;
  if (s.rank) {
    p.x = step.x.address(), p.pending_x = state.pending_x.address(),
    p.pending_kv = state.pending_kv.address();
  }
  cuda.launch(p);
}

void CudaCausalOps::remember(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                             Dev<const float> compressed_qkv) const {
  const auto launched = stream.launched("causal_remember", step.rows);
  const CausalShape& s = layer.shape;
  const State state(s, DeviceCarver(backend_, layer.state));
  cuda::CausalStoreParams p =
      store(s, state.memory, layer.norm_summary, position_of(step), compressed_qkv, step.completed * s.rank);
  p.divide = word(s.chunk), p.times = word(s.rank);
  cuda_stream(stream).launch(p);
}

void CudaCausalOps::attend(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                           Dev<float> y) const {
  const auto launched = stream.launched("causal_attend", step.rows);
  const CudaStream& cuda = cuda_stream(stream);
  const State state(layer.shape, DeviceCarver(backend_, layer.state));
  cuda::CausalAttendParams p = attend_params(layer, state, step.rows);
  p.position = position_of(step), p.qkv = step.qkv.address(), p.y = y.address();
  p.scratch = cuda::attend_scratch_bytes(p) ? cuda.workspace().address() : nullptr;
  cuda.launch(p);
}

namespace {

struct Table {
  cuda::Cache cache{};
  size_t bytes;

  Table(const CausalShape& s, size_t rows, DeviceCarver carver) {
    const size_t capacity = s.int8 ? round_up(rows, kPanelOutputs) : rows, numbers = s.heads * capacity;
    cache.capacity = word(capacity);
    if (s.int8) {
      cache.keys = carver.take<int8_t>(numbers * round_up(s.head_dim, kPanelDepth)).address();
      cache.key_scale = carver.take<float>(numbers).address();
      cache.key_sum = carver.take<int32_t>(numbers).address();
    } else {
      cache.keys = carver.take<float>(numbers * s.head_dim).address();
    }
    bytes = carver.used();
  }
};

}  // namespace

size_t CudaCausalOps::position_table_bytes(const CausalShape& s, size_t rows) const {
  return Table(s, rows, DeviceCarver()).bytes;
}

DeviceTensor CudaCausalOps::make_position_table(Stream& stream, const CausalShape& s, Dev<const float> rows,
                                                size_t count, Dev<void> memory) const {
  const auto launched = stream.launched("make_position_table", count);
  const Table to(s, count, DeviceCarver(backend_, memory));
  cuda::CausalStoreParams p = store(s, to.cache, DeviceNorm(), nullptr, rows, count);
  p.key = rows.address(), p.value = nullptr, p.stride = s.width();
  cuda_stream(stream).launch(p);
  DeviceTensor table;
  table.type = s.int8 ? DataType::kInt8 : DataType::kFloat32;
  table.rank = 3;
  table.shape[0] = word(s.heads), table.shape[1] = word(count), table.shape[2] = word(s.head_dim);
  table.data = Dev<const void>(to.cache.keys);
  table.scales = Dev<const float>(to.cache.key_scale), table.sums = Dev<const int32_t>(to.cache.key_sum);
  return table;
}

namespace {

// The rows of all parts, from or into their caches.
void exchange(const CudaStream& cuda, const CausalShape& s, const State& state, const CausalExchange& parts,
              Dev<uint8_t> bytes, bool into_cache) {
  const std::pair<const cuda::Cache*, const ExchangedRows*> all[] = {
      {&state.window, &parts.window}, {&state.memory, &parts.memory}, {&state.block, &parts.block}};
  for (const auto& [cache, rows] : all) {
    if (rows->count == 0) continue;
    cuda.launch(cuda::CausalExchangeParams{*cache, rows->first, (bytes + rows->keys).address(),
                                           (bytes + rows->values).address(),
                                           Dev<void>(bytes + rows->key_scales).as<float>().address(),
                                           Dev<void>(bytes + rows->value_scales).as<float>().address(),
                                           word(rows->count), word(s.heads), word(s.head_dim), into_cache});
  }
}

}  // namespace

void CudaCausalOps::export_state(Stream& stream, const CausalLayer& layer, uint64_t position,
                                 Dev<void> out) const {
  const auto launched = stream.launched("causal_export", 1);
  const CudaStream& cuda = cuda_stream(stream);
  const CausalShape& s = layer.shape;
  const State state(s, DeviceCarver(backend_, layer.state));
  const CausalExchange parts(s, position);
  const Dev<uint8_t> bytes = out.as<uint8_t>();
  cuda.copy(bytes + parts.pending_x, state.pending_x, parts.pending * s.width() * sizeof(float));
  cuda.copy(bytes + parts.pending_kv, state.pending_kv,
            parts.pending * CausalExchange::pending_kv_width(s) * sizeof(float));
  exchange(cuda, s, state, parts, bytes, false);
  cuda.clear(bytes + parts.used, parts.bytes - parts.used);
}

void CudaCausalOps::import_state(Stream& stream, const CausalLayer& layer, uint64_t position,
                                 Dev<const void> in) const {
  const auto launched = stream.launched("causal_import", 1);
  const CudaStream& cuda = cuda_stream(stream);
  const CausalShape& s = layer.shape;
  const State state(s, DeviceCarver(backend_, layer.state));
  const CausalExchange parts(s, position);
  const Dev<uint8_t> bytes(const_cast<uint8_t*>(in.as<const uint8_t>().address()));  // only read here
  cuda.copy(state.pending_x, bytes + parts.pending_x, parts.pending * s.width() * sizeof(float));
  cuda.copy(state.pending_kv, bytes + parts.pending_kv,
            parts.pending * CausalExchange::pending_kv_width(s) * sizeof(float));
  exchange(cuda, s, state, parts, bytes, true);
}

}  // namespace lsrt
