// Export and import of a layer's state on the CPU.
#include "runtime/device/causal_exchange.h"

#include <cstring>

#include "runtime/device/cpu/causal.h"

namespace lsrt {
namespace {

// One row of one head, between a cache and its place among the exchanged arrays.
struct Place {
  uint8_t *key, *value;
  float *key_scale, *value_scale;
};

void copy_out(const Int8Cache& cache, size_t head, size_t row, const Place& to) {
  cache.get(head, row, reinterpret_cast<int8_t*>(to.key), to.key_scale, reinterpret_cast<int8_t*>(to.value),
            to.value_scale);
}
void copy_in(Int8Cache& cache, size_t head, size_t row, const Place& from) {
  cache.put(head, row, reinterpret_cast<const int8_t*>(from.key), *from.key_scale,
            reinterpret_cast<const int8_t*>(from.value), *from.value_scale);
}
void copy_out(const FloatCache& cache, size_t head, size_t row, const Place& to) {
  std::memcpy(to.key, cache.key(head, row), cache.head_dim * sizeof(float));
  std::memcpy(to.value, cache.value(head, row), cache.head_dim * sizeof(float));
}
void copy_in(FloatCache& cache, size_t head, size_t row, const Place& from) {
  std::memcpy(cache.key(head, row), from.key, cache.head_dim * sizeof(float));
  std::memcpy(cache.value(head, row), from.value, cache.head_dim * sizeof(float));
}

// f(cache, head, row in the ring, place) for all rows of a part.
template <typename Cache, typename F>
void for_rows(const CpuStream& stream, const CausalShape& s, Cache& cache, const ExchangedRows& rows,
              uint8_t* bytes, const F& f) {
  const size_t row_bytes = s.head_dim * (s.int8 ? 1 : sizeof(float));
  stream.parallel_rows(rows.count, [&](size_t i, size_t) {
    for (size_t head = 0; head < s.heads; ++head) {
      const size_t at = i * s.heads + head;
      f(cache, head, (rows.first + i) % cache.capacity,
        Place{bytes + rows.keys + at * row_bytes, bytes + rows.values + at * row_bytes,
              reinterpret_cast<float*>(bytes + rows.key_scales) + at,
              reinterpret_cast<float*>(bytes + rows.value_scales) + at});
    }
  });
}

template <typename State, typename F>
void for_parts(const CpuStream& stream, const CausalShape& s, State& state, const CausalExchange& exchange,
               uint8_t* bytes, const F& f) {
  for_rows(stream, s, state.window, exchange.window, bytes, f);
  for_rows(stream, s, state.memory, exchange.memory, bytes, f);
  for_rows(stream, s, state.block, exchange.block, bytes, f);
}

}  // namespace

void CpuCausalOps::export_state(Stream& stream, const CausalLayer& layer, uint64_t position,
                                Dev<void> out) const {
  const auto launched = stream.launched("causal_export", 1);
  const CausalShape& s = layer.shape;
  const CausalExchange exchange(s, position);
  auto* bytes = out.as<uint8_t>().address();
  with_state(layer, [&](auto& state) {
    std::memcpy(bytes + exchange.pending_x, state.pending_x, exchange.pending * s.width() * sizeof(float));
    std::memcpy(bytes + exchange.pending_kv, state.pending_kv,
                exchange.pending * CausalExchange::pending_kv_width(s) * sizeof(float));
    for_parts(
        cpu_stream(stream), s, state, exchange, bytes,
        [](const auto& cache, size_t head, size_t row, const Place& to) { copy_out(cache, head, row, to); });
  });
  std::memset(bytes + exchange.used, 0, exchange.bytes - exchange.used);
}

void CpuCausalOps::import_state(Stream& stream, const CausalLayer& layer, uint64_t position,
                                Dev<const void> in) const {
  const auto launched = stream.launched("causal_import", 1);
  const CausalShape& s = layer.shape;
  const CausalExchange exchange(s, position);
  auto* bytes = const_cast<uint8_t*>(in.as<const uint8_t>().address());  // only read here
  with_state(layer, [&](auto& state) {
    std::memcpy(state.pending_x, bytes + exchange.pending_x, exchange.pending * s.width() * sizeof(float));
    std::memcpy(state.pending_kv, bytes + exchange.pending_kv,
                exchange.pending * CausalExchange::pending_kv_width(s) * sizeof(float));
    for_parts(
        cpu_stream(stream), s, state, exchange, bytes,
        [](auto& cache, size_t head, size_t row, const Place& from) { copy_in(cache, head, row, from); });
  });
}

}  // namespace lsrt
