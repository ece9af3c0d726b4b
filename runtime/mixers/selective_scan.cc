// A selective state space: its place in a model file.
#include "runtime/model/reader.h"

namespace lsrt {

Status ModelReader::mixer(const fb::SelectiveScan& source, const Rows& rows, SelectiveScan* mixer) {
  const uint64_t d = rows.width;
  TensorView convolution, a;
  LSRT_TRY(tensor("a", source.a(), {0, 0}, {DataType::kFloat32}, &a));
  mixer->a = a.floats();
  mixer->states = a.shape[0], mixer->inner = a.shape[1];
  LSRT_TRY(range("a states", mixer->states, 1, kMaxStates));
  LSRT_TRY(range("a channels", mixer->inner, 1, kMaxWidth));
  const uint64_t inner = mixer->inner;
  LSRT_TRY(linear("in", source.in(), 2 * inner, d, &mixer->in));
  LSRT_TRY(tensor("convolution", source.convolution(), {0, inner}, {DataType::kFloat32}, &convolution));
  mixer->convolution = convolution.floats();
  mixer->taps = convolution.shape[0];
  LSRT_TRY(range("convolution taps", mixer->taps, 1, kMaxTaps));
  LSRT_TRY(floats("convolution_bias", source.convolution_bias(), {inner}, &mixer->convolution_bias));
  LSRT_TRY(linear("step", source.step(), inner, 0, &mixer->step));
  LSRT_TRY(range("step inputs", mixer->step.inputs, 1, kMaxWidth));
  mixer->rank = static_cast<uint32_t>(mixer->step.inputs);
  LSRT_TRY(linear("parameters", source.parameters(), mixer->rank + 2 * uint64_t{mixer->states}, inner,
                  &mixer->parameters));
  LSRT_TRY(floats("d", source.d(), {inner}, &mixer->d));
  LSRT_TRY(linear("out", source.out(), d, inner, &mixer->out));
  mixer->parameter_eps = source.parameter_eps();
  if (!(mixer->parameter_eps >= 0 && mixer->parameter_eps < 1)) {
    return wrong("parameter_eps", "%g is not between 0 and 1", static_cast<double>(mixer->parameter_eps));
  }
  return {};
}

}  // namespace lsrt
