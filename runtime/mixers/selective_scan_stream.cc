// A selective state space as a layer of a stream (spec mamba, section 1).
#include "runtime/mixers/scan_stream.h"

namespace lsrt {
namespace {

class SelectiveScanStream : public ScanStream {
 public:
  SelectiveScanStream(const SelectiveScan& mixer, const StreamExtents& extents, Backend& backend)
      : ScanStream(backend, extents.max_rows, size_t{mixer.taps - 1} * mixer.inner,
                   size_t{mixer.states} * mixer.inner),
        mixer_(mixer) {}

  void plan(StreamPlan* plan) const override {
    mixer_.for_each_linear([&](const LinearView& layer) { linear_.plan(layer, max_rows_, plan); });
  }

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

 private:
  const SelectiveScan& mixer_;
  const Linear *in_ = nullptr, *parameters_ = nullptr, *step_ = nullptr, *out_ = nullptr;
  Dev<const float> convolution_, convolution_bias_, a_, d_;
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
  return make_scan_stream<SelectiveScanStream>(mixer, extents, backend);
}

}  // namespace lsrt
