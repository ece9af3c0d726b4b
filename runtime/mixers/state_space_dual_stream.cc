// A selective state space with one decay a head as a layer of a stream (spec mamba, section 2).
#include "runtime/mixers/scan_stream.h"

namespace lsrt {
namespace {

class StateSpaceDualStream : public ScanStream {
 public:
  StateSpaceDualStream(const StateSpaceDual& mixer, const StreamExtents& extents, Backend& backend)
      : ScanStream(backend, extents.max_rows, size_t{mixer.taps - 1} * mixer.convolved(),
                   size_t{mixer.inner} * mixer.states),
        mixer_(mixer) {}

  void plan(StreamPlan* plan) const override {
    mixer_.for_each_linear([&](const LinearView& layer) { linear_.plan(layer, max_rows_, plan); });
  }

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
    scan.state = channels();
    scan.steps = steps_;
    scan.y = y_;
    scan_.dual_scan(stream, scan);
    scan_.gated_norm(stream, {step.rows, inner, mixer_.groups, projected_, stride, norm_, y_});
    linear_.linear(stream, *out_, y_, step.rows, Activation::kNone, y);
  }

 private:
  const StateSpaceDual& mixer_;
  const Linear *in_ = nullptr, *out_ = nullptr;
  Dev<const float> convolution_, convolution_bias_, step_bias_, a_, d_;
  DeviceNorm norm_;
  Dev<float> projected_;  // [rows, in outputs]: z; v, B, C before the convolution; t
  Dev<float> convolved_;  // [rows, convolved]: v, B, C
  Dev<float> steps_;      // [2, rows, heads]
  Dev<float> y_;          // [rows, inner]
};

}  // namespace

Result<std::unique_ptr<StreamMixer>> make_stream_mixer(const StateSpaceDual& mixer,
                                                       const StreamExtents& extents, Backend& backend) {
  return make_scan_stream<StateSpaceDualStream>(mixer, extents, backend);
}

}  // namespace lsrt
