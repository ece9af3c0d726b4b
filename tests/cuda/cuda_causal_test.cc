// CUDA kernels of causal long-short attention return the bits of the CPU's launches, along a stream that
// wraps its rings, in steps of all sizes; and exchange its state.
#include <memory>

#include "runtime/device/causal_exchange.h"
#include "tests/cuda/emulated.h"
#include "tests/support/backends.h"

namespace {

using namespace lsrt_test;
using lsrt::CausalShape;
using lsrt::Dev;
namespace cuda = lsrt::cuda;

// Arrays of one cache.
struct CacheArrays {
  size_t capacity;
  DeviceArray<int8_t> keys8, values8;
  DeviceArray<float> keys, values, key_scale, value_scale;
  DeviceArray<int32_t> key_sum;

  CacheArrays(const CausalShape& s, size_t rows)
      : capacity(lsrt::round_up(rows, 16)),
        keys8(s.int8 ? s.heads * capacity * lsrt::round_up(s.head_dim, 4) : 0),
        values8(s.int8 ? s.heads * capacity * lsrt::round_up(s.head_dim, 16) : 0),
        keys(s.int8 ? 0 : s.heads * capacity * s.head_dim),
        values(keys.size()),
        key_scale(s.int8 ? s.heads * capacity : 0),
        value_scale(key_scale.size()),
        key_sum(key_scale.size()) {}
  cuda::Cache cache() const {
    const auto rows = static_cast<uint32_t>(capacity);
    if (keys8.size()) {
      return {keys8.data(), values8.data(), key_scale.data(), value_scale.data(), key_sum.data(), rows};
    }
    return {keys.data(), values.data(), nullptr, nullptr, nullptr, rows};
  }
};

// A layer of random weights, on the CPU backend and on emulated CUDA.
class Layers {
 public:
  Layers(const CausalShape& shape, uint64_t seed)
      : s_(shape),
        random_(seed),
        gamma_(floats(random_, width())),
        beta_(floats(random_, width())),
        bias_(floats(random_, 2 * width())),
        window_(s_, s_.window ? s_.window + s_.max_rows : 0),
        memory_(s_, s_.memory_summaries() + s_.block_summaries()),
        block_(s_, s_.block_summaries()),
        zero_window_(s_, 1),
        zero_summary_(s_, 1),
        pending_x_(s_.rank ? s_.chunk * width() : 0),
        pending_kv_(s_.rank ? s_.chunk * (2 * width() + s_.heads * s_.rank) : 0),
        position_(1),
        backend_(cpu(nullptr, "scalar")),
        ops_(*backend_->ops().causal) {
    lsrt::StreamPlan plan;
    ops_.plan(s_, &plan);
    stream_ = take(backend_->create_stream(plan));
    state_ = take(backend_->allocate(ops_.state_bytes(s_)));
    layer_.shape = s_;
    layer_.norm_window = {Dev<const float>(gamma_.data()), Dev<const float>(beta_.data()), 1e-5f,
                          lsrt::NormKind::kLayer};
    layer_.norm_summary = {Dev<const float>(beta_.data()), Dev<const float>(gamma_.data()), 1e-3f,
                           lsrt::NormKind::kLayer};
    layer_.content_bias = Dev<const float>(bias_.data());
    layer_.position_bias = Dev<const float>(bias_.data() + width());
    layer_.state = state_;
    make_table(s_.window, &layer_.window_positions, &window_table_);
    make_table(s_.rank ? s_.positions() + 3 : 0, &layer_.chunk_positions, &chunk_table_);
    const DeviceArray<float> zero(floats(random_, qkv_width()));
    ops_.reset(*stream_, layer_, Dev<const float>(zero.data()));
    if (s_.window) launch(store(zero_window_.cache(), norm(layer_.norm_window), zero, width(), 1, nullptr));
    if (s_.rank) launch(store(zero_summary_.cache(), norm(layer_.norm_summary), zero, width(), 1, nullptr));
  }
  ~Layers() {
    for (const Dev<void> memory : {state_, cpu_tables_[0], cpu_tables_[1]}) backend_->release(memory);
  }

  // Random rows go through both.
  void step(uint32_t rows) {
    const auto completed =
        s_.rank ? static_cast<uint32_t>(lsrt::CausalStep::chunks_completed(position_[0], rows, s_.chunk)) : 0;
    const DeviceArray<float> x(floats(random_, rows * width())), qkv(floats(random_, rows * qkv_width()));
    const DeviceArray<float> a(completed * s_.rank * width()), b(a.size());
    const lsrt::CausalStep step{
        Dev<const lsrt::StepNumbers>(reinterpret_cast<lsrt::StepNumbers*>(position_.data())), rows, completed,
        Dev<const float>(x.data()), Dev<const float>(qkv.data())};
    ops_.append(*stream_, layer_, step, Dev<float>(a.data()));
    if (completed) {
      const DeviceArray<float> scratch(completed * s_.rank * cuda::compress_scratch_floats(extents()));
      launch(cuda::CausalCompressParams{extents(), block_.cache(), norm(layer_.norm_summary),
                                        position_.data(), x.data(), qkv.data(), pending_x_.data(),
                                        pending_kv_.data(), b.data(), scratch.data(), completed});
      REQUIRE(same_floats(a.data(), b.data(), a.size()));
    }
    cuda::CausalStoreParams kept =
        store(window_.cache(), norm(layer_.norm_window), qkv, width(), rows, position_.data());
    if (s_.window == 0) kept.cache.keys = nullptr;
    if (s_.rank) kept.x = x.data(), kept.pending_x = pending_x_.data(), kept.pending_kv = pending_kv_.data();
    launch(kept);
    if (completed) {
      const auto summaries = static_cast<uint32_t>(completed * s_.rank);
      const DeviceArray<float> compressed(floats(random_, summaries * qkv_width()));
      ops_.remember(*stream_, layer_, step, Dev<const float>(compressed.data()));
      cuda::CausalStoreParams to =
          store(memory_.cache(), norm(layer_.norm_summary), compressed, width(), summaries, position_.data());
      to.divide = static_cast<uint32_t>(s_.chunk), to.times = static_cast<uint32_t>(s_.rank);
      launch(to);
    }
    const DeviceArray<float> y(rows * width()), z(y.size());
    ops_.attend(*stream_, layer_, step, Dev<float>(y.data()));
    cuda::CausalAttendParams attend{extents(),
                                    window_.cache(),
                                    memory_.cache(),
                                    block_.cache(),
                                    zero_window_.cache(),
                                    zero_summary_.cache(),
                                    positions(layer_.window_positions),
                                    positions(layer_.chunk_positions),
                                    s_.window ? bias_.data() : nullptr,
                                    s_.window ? bias_.data() + width() : nullptr,
                                    position_.data(),
                                    qkv.data(),
                                    z.data(),
                                    nullptr,
                                    rows};
    const DeviceArray<uint8_t> scratch(cuda::attend_scratch_bytes(attend));
    attend.scratch = scratch.data();
    launch(attend);
    INFO("position ", position_[0], ", rows ", rows);
    REQUIRE(same_floats(y.data(), z.data(), y.size()));
    position_[0] += rows;
  }

  // What both would keep of the stream is equal; CUDA's, forgotten, comes back.
  void exchange() {
    const lsrt::CausalExchange e(s_, position_[0]);
    const DeviceArray<uint8_t> a(e.bytes), b(e.bytes);
    ops_.export_state(*stream_, layer_, position_[0], Dev<void>(a.data()));
    const auto move = [&](bool into_cache) {
      const std::pair<const CacheArrays*, const lsrt::ExchangedRows*> parts[] = {
          {&window_, &e.window}, {&memory_, &e.memory}, {&block_, &e.block}};
      for (const auto& [arrays, rows] : parts) {
        if (rows->count == 0) continue;
        launch(cuda::CausalExchangeParams{arrays->cache(), rows->first, b.data() + rows->keys,
                                          b.data() + rows->values,
                                          reinterpret_cast<float*>(b.data() + rows->key_scales),
                                          reinterpret_cast<float*>(b.data() + rows->value_scales),
                                          static_cast<uint32_t>(rows->count), heads(), dim(), into_cache});
      }
    };
    move(false);
    for (const lsrt::ExchangedRows* rows : {&e.window, &e.memory, &e.block}) {
      const size_t n = rows->count * width() * (s_.int8 ? 1 : sizeof(float));
      const size_t scales = s_.int8 ? rows->count * heads() * sizeof(float) : 0;
      const auto same = [&](size_t at, size_t bytes) {
        return bytes == 0 || std::memcmp(a.data() + at, b.data() + at, bytes) == 0;
      };
      REQUIRE(same(rows->keys, n));
      REQUIRE(same(rows->values, n));
      REQUIRE(same(rows->key_scales, scales));
      REQUIRE(same(rows->value_scales, scales));
    }
    for (const CacheArrays* arrays : {&window_, &memory_, &block_}) {
      for (size_t i = 0; i < arrays->keys8.size(); ++i) arrays->keys8[i] = 77;
      for (size_t i = 0; i < arrays->values8.size(); ++i) arrays->values8[i] = 77;
      for (size_t i = 0; i < arrays->keys.size(); ++i) arrays->keys[i] = arrays->values[i] = 77;
      for (size_t i = 0; i < arrays->key_sum.size(); ++i) {
        arrays->key_sum[i] = 77, arrays->key_scale[i] = arrays->value_scale[i] = 77;
      }
    }
    move(true);
  }

 private:
  uint32_t heads() const { return static_cast<uint32_t>(s_.heads); }
  uint32_t dim() const { return static_cast<uint32_t>(s_.head_dim); }
  size_t width() const { return s_.width(); }
  size_t qkv_width() const { return 3 * width() + s_.heads * s_.rank; }

  cuda::CausalExtents extents() const {
    const auto u = [](size_t n) { return static_cast<uint32_t>(n); };
    return {heads(), dim(), u(s_.window), u(s_.chunk), u(s_.rank), u(s_.block), u(s_.memory), u(s_.max_rows)};
  }
  static cuda::Norm norm(const lsrt::DeviceNorm& n) {
    return {n.gamma.address(), n.beta.address(), n.eps, 0};
  }
  static cuda::Positions positions(const lsrt::DeviceTensor& t) {
    return {t.data.address(), t.scales.address(), t.sums.address(), t.shape[1]};
  }
  // Key and value of rows that start with a query.
  cuda::CausalStoreParams store(const cuda::Cache& cache, const cuda::Norm& norm,
                                const DeviceArray<float>& qkv, size_t key, uint32_t rows,
                                const uint64_t* position) const {
    cuda::CausalStoreParams p{};
    p.cache = cache, p.norm = norm, p.position = position;
    p.key = qkv.data() + key, p.value = p.key + width(), p.stride = qkv_width();
    p.divide = p.times = 1;
    p.rows = rows, p.heads = heads(), p.head_dim = dim();
    p.chunk = static_cast<uint32_t>(s_.chunk), p.rank = static_cast<uint32_t>(s_.rank);
    return p;
  }
  // A table of positions by both, which must be the same.
  void make_table(size_t rows, lsrt::DeviceTensor* table, std::unique_ptr<CacheArrays>* arrays) {
    if (rows == 0) return;
    const DeviceArray<float> from(floats(random_, rows * width()));
    Dev<void>& memory = cpu_tables_[table == &layer_.chunk_positions];
    memory = take(backend_->allocate(ops_.position_table_bytes(s_, rows)));
    const lsrt::DeviceTensor made =
        ops_.make_position_table(*stream_, s_, Dev<const float>(from.data()), rows, memory);
    *arrays = std::make_unique<CacheArrays>(s_, rows);
    cuda::CausalStoreParams p = store((*arrays)->cache(), {}, from, 0, static_cast<uint32_t>(rows), nullptr);
    p.stride = width(), p.value = nullptr, p.cache.values = nullptr;
    if (!s_.int8) p.cache.capacity = static_cast<uint32_t>(rows);
    launch(p);
    *table = made;
    if (s_.int8) {
      table->data = Dev<const void>((*arrays)->keys8.data());
      table->scales = Dev<const float>((*arrays)->key_scale.data());
      table->sums = Dev<const int32_t>((*arrays)->key_sum.data());
      const size_t bytes = s_.heads * lsrt::panel_count(rows) * lsrt::panel_bytes(s_.head_dim);
      const auto* expected = made.data.as<const int8_t>().address();
      REQUIRE(std::memcmp((*arrays)->keys8.data(), expected, bytes) == 0);
    } else {
      table->data = Dev<const void>((*arrays)->keys.data());
      REQUIRE(same_floats((*arrays)->keys.data(), made.data.as<const float>().address(), rows * width()));
    }
  }

  const CausalShape s_;
  Random random_;
  const DeviceArray<float> gamma_, beta_, bias_;
  const CacheArrays window_, memory_, block_, zero_window_, zero_summary_;
  const DeviceArray<float> pending_x_, pending_kv_;
  const DeviceArray<uint64_t> position_;
  std::unique_ptr<CacheArrays> window_table_, chunk_table_;
  const std::shared_ptr<lsrt::Backend> backend_;
  const lsrt::CausalOps& ops_;
  std::unique_ptr<lsrt::Stream> stream_;
  Dev<void> state_, cpu_tables_[2];
  lsrt::CausalLayer layer_{};
};

// Steps that end no later than their block, over a few blocks, until all rings have wrapped.
void run_stream(const CausalShape& shape, uint64_t seed, size_t tokens) {
  Random random(seed);
  Layers layers(shape, seed);
  for (size_t at = 0; at < tokens;) {
    const size_t most = std::min(shape.max_rows, shape.block - at % shape.block);
    const uint32_t rows = random.chance(50) ? 1 : random.in(1, most);
    layers.step(rows);
    at += rows;
    if (random.chance(20)) layers.exchange();
  }
}

TEST_CASE("streams of int8 layers") {
  run_stream({2, 20, 10, 4, 2, 8, 12, 6, true}, 1, 60);
  run_stream({1, 16, 0, 2, 1, 4, 8, 4, true}, 2, 30);  // no window
  run_stream({3, 7, 5, 1, 0, 6, 6, 6, true}, 3, 40);   // no summaries
  run_stream({1, 33, 20, 4, 3, 20, 40, 20, true}, 4, 130);
}

TEST_CASE("streams of float layers") {
  run_stream({2, 20, 10, 4, 2, 8, 12, 6, false}, 5, 60);
  run_stream({1, 5, 0, 2, 1, 4, 8, 4, false}, 6, 30);
  run_stream({2, 16, 5, 1, 0, 6, 6, 6, false}, 7, 40);
}

TEST_CASE("scores that do not fit in shared memory") {
  const CausalShape shape{2, 8, 9000, 4, 1, 8, 9000, 2, true};
  run_stream(shape, 8, 8);
  run_stream({1, 4, 3000, 4, 1, 8, 3000, 5, false}, 9, 8);
}

}  // namespace
