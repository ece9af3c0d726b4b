// A selective state space with one decay a head as a layer of a stream (spec mamba, section 2). Its state is
// the rows before the convolution and the channels' states, in one piece; in this form it also leaves the
// device.
#include "runtime/mixers/mixer.h"

namespace lsrt {
namespace {

class StateSpaceDualStream : public StreamMixer {
 public:
  StateSpaceDualStream(const StateSpaceDual& mixer, const StreamExtents& extents, Backend& backend)
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
    convolved_ = carver->take<float>(max_rows_ * mixer_.convolved());
    steps_ = carver->take<float>(2 * max_rows_ * mixer_.heads);
    y_ = carver->take<float>(max_rows_ * mixer_.inner);
  }

  Status prepare() override {
    LSRT_ASSIGN(in_, backend_.prepare(mixer_.in));
    LSRT_ASSIGN(out_, backend_.prepare(mixer_.out));
    convolution_ = backend_.weights_of(mixer_.convolution);
    convolution_bias_ = backend_.weights_of(mixer_.convolution_bias);
    step_bias_ = backend_.weights_of(mixer_.step_bias);
    a_ = backend_.weights_of(mixer_.a);
    d_ = backend_.weights_of(mixer_.d);
    norm_ = backend_.norm(mixer_.norm);
    return {};
  }
  Status make_tables(Stream&) override { return {}; }

  // Before the stream there is nothing: rows and states are 0.
  void reset(Stream& stream, Dev<const float>) override { rows_.clear(stream, state_, state_floats()); }

  uint32_t shape(uint64_t, size_t) const override { return 0; }

  void step(Stream& stream, const StreamStep& step, Dev<const float> x, Dev<float> y) override {
    const size_t inner = mixer_.inner, convolved = mixer_.convolved(), stride = mixer_.in.outputs;
    linear_.linear(stream, *in_, x, step.rows, Activation::kNone, projected_);
    scan_.convolve(stream, {step.rows, convolved, mixer_.taps, projected_ + inner, stride, convolution_,
                            convolution_bias_, history(), convolved_});
    DualScan scan{};
    scan.rows = step.rows, scan.heads = mixer_.heads, scan.groups = mixer_.groups;
    scan.head_dim = inner / mixer_.heads, scan.states = mixer_.states;
    scan.v = convolved_;
    scan.b = scan.v + inner;
    scan.c = scan.b + size_t{mixer_.groups} * mixer_.states;
    scan.stride = convolved;
    scan.step = projected_ + inner + convolved, scan.step_stride = stride;
    scan.step_bias = step_bias_, scan.step_min = mixer_.step_min, scan.step_max = mixer_.step_max;
    scan.a = a_, scan.d = d_, scan.d_per_channel = mixer_.d_per_channel;
    scan.state = state_ + history_floats();
    scan.steps = steps_;
    scan.y = y_;
    scan_.dual_scan(stream, scan);
    scan_.gated_norm(stream, {step.rows, inner, mixer_.groups, projected_, stride, norm_, y_});
    linear_.linear(stream, *out_, y_, step.rows, Activation::kNone, y);
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
  size_t history_floats() const { return size_t{mixer_.taps - 1} * mixer_.convolved(); }
  size_t state_floats() const { return history_floats() + size_t{mixer_.inner} * mixer_.states; }
  Dev<float> history() const { return state_; }
  void copy(Stream& stream, Dev<const float> from, Dev<float> to) const {
    rows_.copy_rows(stream, state_floats(), from, state_floats(), 1, to, state_floats());
  }

  const StateSpaceDual& mixer_;
  const size_t max_rows_;
  Backend& backend_;
  const LinearOps& linear_;
  const RowOps& rows_;
  const ScanOps& scan_;
  const Linear *in_ = nullptr, *out_ = nullptr;
  Dev<const float> convolution_, convolution_bias_, step_bias_, a_, d_;
  DeviceNorm norm_;
  Dev<float> state_;      // [taps - 1, convolved], [inner, states]
  Dev<float> projected_;  // [rows, in outputs]: z; v, B, C before the convolution; t
  Dev<float> convolved_;  // [rows, convolved]: v, B, C
  Dev<float> steps_;      // [2, rows, heads]
  Dev<float> y_;          // [rows, inner]
};

}  // namespace

Result<std::unique_ptr<StreamMixer>> make_stream_mixer(const StateSpaceDual& mixer,
                                                       const StreamExtents& extents, Backend& backend) {
  if (!backend.ops().scan) {
    return fail(Error::kUnsupported, "backend '%s' has no selective state spaces", backend.info().name);
  }
  return std::unique_ptr<StreamMixer>(new StateSpaceDualStream(mixer, extents, backend));
}

}  // namespace lsrt
