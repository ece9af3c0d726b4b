// Causal long-short attention as a layer of a stream (spec section 1).
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <vector>

#include "runtime/device/causal_exchange.h"
#include "runtime/mixers/mixer.h"

namespace lsrt {
namespace {

// Scales as quantization makes them: 0 or a normal number.
bool are_scales(const uint8_t* bytes, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    uint32_t bits = 0;
    float scale = 0;
    std::memcpy(&bits, bytes + i * sizeof bits, sizeof bits);
    std::memcpy(&scale, &bits, sizeof scale);
    if (bits != 0 && !(scale >= FLT_MIN && scale <= FLT_MAX)) return false;
  }
  return true;
}

// -127 .. 127
bool are_quantized(const uint8_t* bytes, size_t n) { return n == 0 || !std::memchr(bytes, 0x80, n); }

class CausalLongShortStream : public StreamMixer {
 public:
  CausalLongShortStream(const CausalLongShort& mixer, const StreamExtents& extents, Backend& backend)
      : mixer_(mixer), backend_(backend), linear_(*backend.ops().linear), ops_(*backend.ops().causal) {
    CausalShape& s = layer_.shape;
    s.heads = mixer.heads, s.head_dim = mixer.head_dim;
    s.window = mixer.window, s.chunk = mixer.chunk, s.rank = mixer.rank;
    s.block = extents.block, s.memory = extents.memory, s.max_rows = extents.max_rows;
    s.int8 = mixer.qkv.weight.type == DataType::kInt8;
  }

  Status check() const {
    const CausalShape& s = layer_.shape;
    if (s.block % s.chunk != 0) {
      return fail(Error::kArgument, "block is %zu tokens, must be a multiple of the chunk length %zu",
                  s.block, s.chunk);
    }
    if (s.memory % s.chunk != 0) {
      return fail(Error::kArgument, "memory is %zu tokens, must be a multiple of the chunk length %zu",
                  s.memory, s.chunk);
    }
    if (s.memory < s.window) {
      return fail(Error::kArgument, "memory is %zu tokens, must be at least the window of %zu", s.memory,
                  s.window);
    }
    if (s.positions() > INT32_MAX) {
      return fail(Error::kArgument, "memory is %zu tokens and has %zu summaries, at most %d are possible",
                  s.memory, s.positions(), INT32_MAX);
    }
    return {};
  }

  void plan(StreamPlan* plan) const override {
    const CausalShape& s = layer_.shape;
    linear_.plan(mixer_.qkv, std::max(s.max_rows, compressed_rows()), plan);
    linear_.plan(mixer_.out, s.max_rows, plan);
    if (makes_positions()) linear_.plan(mixer_.chunk_position_projection, s.max_rows, plan);
    ops_.plan(s, plan);
  }

  void place_state(DeviceCarver* carver) override {
    layer_.state = carver->take<uint8_t>(ops_.state_bytes(layer_.shape));
  }

  void place_tables(DeviceCarver* carver) override {
    if (!makes_positions()) return;
    table_ = carver->take<uint8_t>(ops_.position_table_bytes(layer_.shape, layer_.shape.positions()));
  }

  void place_scratch(DeviceCarver* carver) override {
    const CausalShape& s = layer_.shape;
    qkv_rows_ = carver->take<float>(s.max_rows * mixer_.qkv.outputs);
    attention_ = carver->take<float>(s.max_rows * s.width());
    compressed_ = carver->take<float>(compressed_rows() * s.width());
    compressed_qkv_ = carver->take<float>(compressed_rows() * mixer_.qkv.outputs);
  }

  Status prepare() override {
    LSRT_ASSIGN(qkv_, backend_.prepare(mixer_.qkv));
    LSRT_ASSIGN(out_, backend_.prepare(mixer_.out));
    layer_.norm_window = backend_.norm(mixer_.norm_window);
    layer_.norm_summary = backend_.norm(mixer_.norm_summary);
    layer_.content_bias = backend_.weights_of(mixer_.content_bias);
    layer_.position_bias = backend_.weights_of(mixer_.position_bias);
    layer_.window_positions = backend_.tensor(mixer_.window_positions);
    layer_.chunk_positions = backend_.tensor(mixer_.chunk_positions);
    if (makes_positions()) {
      LSRT_ASSIGN(projection_, backend_.prepare(mixer_.chunk_position_projection));
    }
    return {};
  }

  Status make_tables(Stream& stream) override {
    return makes_positions() ? make_positions(stream) : Status();
  }

  void reset(Stream& stream, Dev<const float> x) override {
    linear_.linear(stream, *qkv_, x, 1, Activation::kNone, qkv_rows_);
    ops_.reset(stream, layer_, qkv_rows_);
  }

  uint32_t shape(uint64_t position, size_t rows) const override {
    return static_cast<uint32_t>(CausalStep::chunks_completed(position, rows, layer_.shape.chunk));
  }

  void step(Stream& stream, const StreamStep& step, Dev<const float> x, Dev<float> y) override {
    linear_.linear(stream, *qkv_, x, step.rows, Activation::kNone, qkv_rows_);
    const CausalStep causal{step.numbers, step.rows, step.shape, x, qkv_rows_};
    ops_.append(stream, layer_, causal, compressed_);
    if (const size_t summaries = causal.completed * layer_.shape.rank) {
      linear_.linear(stream, *qkv_, compressed_, summaries, Activation::kNone, compressed_qkv_);
      ops_.remember(stream, layer_, causal, compressed_qkv_);
    }
    ops_.attend(stream, layer_, causal, attention_);
    linear_.linear(stream, *out_, attention_, step.rows, Activation::kNone, y);
  }

  size_t exchange_bytes(uint64_t position) const override {
    return CausalExchange(layer_.shape, position).bytes;
  }
  size_t most_exchange_bytes() const override { return CausalExchange::most_bytes(layer_.shape); }
  void export_state(Stream& stream, uint64_t position, Dev<void> out) override {
    ops_.export_state(stream, layer_, position, out);
  }
  void import_state(Stream& stream, uint64_t position, Dev<const void> in) override {
    ops_.import_state(stream, layer_, position, in);
  }

  // Float rows may be any: what attention makes of infinities and NaN is defined, and a stream can have made
  // them itself.
  bool is_state(uint64_t position, const uint8_t* host) const override {
    const CausalShape& s = layer_.shape;
    if (!s.int8) return true;
    const CausalExchange exchange(s, position);
    for (const ExchangedRows* rows : {&exchange.window, &exchange.memory, &exchange.block}) {
      if (!are_scales(host + rows->key_scales, rows->count * s.heads)) return false;
      if (!are_scales(host + rows->value_scales, rows->count * s.heads)) return false;
      if (!are_quantized(host + rows->keys, rows->count * s.width())) return false;
      if (!are_quantized(host + rows->values, rows->count * s.width())) return false;
    }
    return true;
  }

 private:
  // Rows that summarize the chunks of a step, at most.
  size_t compressed_rows() const {
    return (layer_.shape.max_rows / layer_.shape.chunk + 1) * layer_.shape.rank;
  }
  // Whether there is more memory than the model's own table of positions reaches.
  bool makes_positions() const {
    return layer_.shape.rank != 0 && layer_.shape.positions() > mixer_.chunk_positions.shape[1];
  }

  // Farthest first, row y is distance n - 1 - y.
  Status make_positions(Stream& stream) {
    const size_t width = layer_.shape.width(), count = layer_.shape.positions(), most = layer_.shape.max_rows;
    std::vector<float> sinusoid(most * width);
    LSRT_ASSIGN(const Dev<void> memory, backend_.allocate(count * width * sizeof(float)));
    const Dev<float> rows = memory.as<float>(), input = attention_;
    for (size_t first = 0; first < count; first += most) {
      const size_t n = std::min(most, count - first);
      for (size_t i = 0; i < n; ++i) {
        double distance = static_cast<double>(count - 1 - (first + i));
        if (mixer_.chunk_position_clamp > 0) {
          distance = std::min<double>(distance, mixer_.chunk_position_clamp);
        }
        for (size_t k = 0; k < width / 2; ++k) {
          const double angle =
              distance * std::pow(10000.0, -2.0 * static_cast<double>(k) / static_cast<double>(width));
          sinusoid[i * width + k] = static_cast<float>(std::sin(angle));
          sinusoid[i * width + width / 2 + k] = static_cast<float>(std::cos(angle));
        }
      }
      backend_.copy_in(stream, input, sinusoid.data(), n * width * sizeof(float));
      linear_.linear(stream, *projection_, input, n, Activation::kNone, rows + first * width);
    }
    layer_.chunk_positions = ops_.make_position_table(stream, layer_.shape, rows, count, table_);
    backend_.release(memory);
    return {};
  }

  const CausalLongShort& mixer_;
  Backend& backend_;
  const LinearOps& linear_;
  const CausalOps& ops_;
  CausalLayer layer_{};
  const Linear *qkv_ = nullptr, *out_ = nullptr, *projection_ = nullptr;
  Dev<void> table_;            // positions, where the model's are too few
  Dev<float> qkv_rows_;        // [rows, 3 width + heads * rank]
  Dev<float> attention_;       // [rows, width]
  Dev<float> compressed_;      // [chunks * rank, width]
  Dev<float> compressed_qkv_;  // [chunks * rank, 3 width + heads * rank]
};

}  // namespace

Result<std::unique_ptr<StreamMixer>> make_stream_mixer(const CausalLongShort& mixer,
                                                       const StreamExtents& extents, Backend& backend) {
  if (!backend.ops().causal) {
    return fail(Error::kUnsupported, "backend '%s' has no causal long-short attention", backend.info().name);
  }
  auto made = std::make_unique<CausalLongShortStream>(mixer, extents, backend);
  LSRT_TRY(made->check());
  return std::unique_ptr<StreamMixer>(std::move(made));
}

}  // namespace lsrt
