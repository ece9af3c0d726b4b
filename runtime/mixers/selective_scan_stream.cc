// A selective state space as a layer of a stream (spec mamba, section 1). Its state is the rows before the
// convolution and the channels' states, in one piece; in this form it also leaves the device.
#include "runtime/mixers/mixer.h"

namespace lsrt {
namespace {

class SelectiveScanStream : public StreamMixer {
 public:
  SelectiveScanStream(const SelectiveScan& mixer, const StreamExtents& extents, Backend& backend)
      : mixer_(mixer),
        max_rows_(extents.max_rows),
        backend_(backend),
        linear_(*backend.ops().linear),
        rows_(*backend.ops().rows),
        scan_(*backend.ops().scan) {}

  void plan(StreamPlan* plan) const override {
    mixer_.for_each_linear([&](const LinearView& layer) { linear_.plan(layer, max_rows_, plan); });
  }

  void place_state(DeviceCarver* carver) override { state_ = carver->take<float>(state_floats()); }
  void place_tables(DeviceCarver*) override {}
  void place_scratch(DeviceCarver* carver) override {
    projected_ = carver->take<float>(max_rows_ * mixer_.in.outputs);
    v_ = carver->take<float>(max_rows_ * mixer_.inner);
    parameter_rows_ = carver->take<float>(max_rows_ * mixer_.parameters.outputs);
    step_input_ = carver->take<float>(max_rows_ * mixer_.rank);
    steps_ = carver->take<float>(max_rows_ * mixer_.inner);
    y_ = carver->take<float>(max_rows_ * mixer_.inner);
  }

  Status prepare() override {
    LSRT_ASSIGN(in_, backend_.prepare(mixer_.in));
    LSRT_ASSIGN(parameters_, backend_.prepare(mixer_.parameters));
    LSRT_ASSIGN(step_, backend_.prepare(mixer_.step));
    LSRT_ASSIGN(out_, backend_.prepare(mixer_.out));
    convolution_ = backend_.weights_of(mixer_.convolution);
    convolution_bias_ = backend_.weights_of(mixer_.convolution_bias);
    a_ = backend_.weights_of(mixer_.a);
    d_ = backend_.weights_of(mixer_.d);
    return {};
  }
  Status make_tables(Stream&) override { return {}; }

  // Before the stream there is nothing: rows and states are 0.
  void reset(Stream& stream, Dev<const float>) override { rows_.clear(stream, state_, state_floats()); }

  uint32_t shape(uint64_t, size_t) const override { return 0; }

  void step(Stream& stream, const StreamStep& step, Dev<const float> x, Dev<float> y) override {
    const size_t inner = mixer_.inner, states = mixer_.states, rank = mixer_.rank, rows = step.rows;
    linear_.linear(stream, *in_, x, rows, Activation::kNone, projected_);
    scan_.convolve(stream, {rows, inner, mixer_.taps, projected_, 2 * inner, convolution_, convolution_bias_,
                            history(), v_});
    linear_.linear(stream, *parameters_, v_, rows, Activation::kNone, parameter_rows_);
    // t, B and C; with norms (Falcon-Mamba) or as they are.
    const size_t stride = mixer_.parameters.outputs;
    const Dev<float> b = parameter_rows_ + rank, c = b + states;
    const DeviceNorm norm{nullptr, nullptr, mixer_.parameter_eps, NormKind::kRms};
    rows_.layer_norm(stream, norm, rank, parameter_rows_, stride, rows, step_input_, rank);
    if (norm) {
      rows_.layer_norm(stream, norm, states, b, stride, rows, b, stride);
      rows_.layer_norm(stream, norm, states, c, stride, rows, c, stride);
    }
    linear_.linear(stream, *step_, step_input_, rows, Activation::kNone, steps_);
    scan_.selective_scan(stream, {rows, inner, states, v_, steps_, projected_ + inner, 2 * inner, b, c,
                                  stride, a_, d_, channels(), y_});
    linear_.linear(stream, *out_, y_, rows, Activation::kNone, y);
  }

  size_t exchange_bytes(uint64_t) const override { return state_floats() * sizeof(float); }
  size_t most_exchange_bytes() const override { return exchange_bytes(0); }
  void export_state(Stream& stream, uint64_t, Dev<void> out) override {
    copy(stream, state_, out.as<float>());
  }
  void import_state(Stream& stream, uint64_t, Dev<const void> in) override {
    copy(stream, in.as<const float>(), state_);
  }
  // Any numbers: what the scan makes of infinities and NaN is defined.
  bool is_state(uint64_t, const uint8_t*) const override { return true; }

 private:
  size_t history_floats() const { return size_t{mixer_.taps - 1} * mixer_.inner; }
  size_t state_floats() const { return history_floats() + size_t{mixer_.states} * mixer_.inner; }
  Dev<float> history() const { return state_; }
  Dev<float> channels() const { return state_ + history_floats(); }
  void copy(Stream& stream, Dev<const float> from, Dev<float> to) const {
    rows_.copy_rows(stream, state_floats(), from, state_floats(), 1, to, state_floats());
  }

  const SelectiveScan& mixer_;
  const size_t max_rows_;
  Backend& backend_;
  const LinearOps& linear_;
  const RowOps& rows_;
  const ScanOps& scan_;
  const Linear *in_ = nullptr, *parameters_ = nullptr, *step_ = nullptr, *out_ = nullptr;
  Dev<const float> convolution_, convolution_bias_, a_, d_;
  Dev<float> state_;           // [taps - 1, inner], [states, inner]
  Dev<float> projected_;       // [rows, 2 inner]: v before the convolution, z
  Dev<float> v_;               // [rows, inner]
  Dev<float> parameter_rows_;  // [rows, rank + 2 states]: t, B, C
  Dev<float> step_input_;      // [rows, rank]
  Dev<float> steps_;           // [rows, inner]: before softplus
  Dev<float> y_;               // [rows, inner]
};

}  // namespace

Result<std::unique_ptr<StreamMixer>> make_stream_mixer(const SelectiveScan& mixer,
                                                       const StreamExtents& extents, Backend& backend) {
  if (!backend.ops().scan) {
    return fail(Error::kUnsupported, "backend '%s' has no selective state spaces", backend.info().name);
  }
  return std::unique_ptr<StreamMixer>(new SelectiveScanStream(mixer, extents, backend));
}

}  // namespace lsrt
