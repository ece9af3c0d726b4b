// A selective state space with one decay a head: its place in a model file.
#include "runtime/model/reader.h"

namespace lsrt {

Status ModelReader::mixer(const fb::StateSpaceDual& source, const Rows& rows, StateSpaceDual* mixer) {
  mixer->heads = source.heads();
  mixer->groups = source.groups();
  LSRT_TRY(linear("out", source.out(), rows.width, 0, &mixer->out));
  LSRT_TRY(range("out inputs", mixer->out.inputs, 1, kMaxWidth));
  mixer->inner = static_cast<uint32_t>(mixer->out.inputs);
  LSRT_TRY(range("heads", mixer->heads, 1, mixer->inner));
  LSRT_TRY(range("groups", mixer->groups, 1, mixer->heads));
  if (mixer->inner % mixer->heads != 0 || mixer->heads % mixer->groups != 0) {
    return wrong("heads", "%u do not divide %u channels, or %u groups do not divide them", mixer->heads,
                 mixer->inner, mixer->groups);
  }
  TensorView convolution;
  LSRT_TRY(tensor("convolution", source.convolution(), {0, 0}, {DataType::kFloat32}, &convolution));
  mixer->convolution = convolution.floats();
  mixer->taps = convolution.shape[0];
  LSRT_TRY(range("convolution taps", mixer->taps, 1, kMaxTaps));
  const uint32_t channels = convolution.shape[1], shared = 2 * mixer->groups;
  if (channels <= mixer->inner || (channels - mixer->inner) % shared != 0) {
    return wrong("convolution", "%u channels, expected %u and a multiple of %u", channels, mixer->inner,
                 shared);
  }
  mixer->states = (channels - mixer->inner) / shared;
  LSRT_TRY(range("states", mixer->states, 1, kMaxStates));
  LSRT_TRY(floats("convolution_bias", source.convolution_bias(), {channels}, &mixer->convolution_bias));
  LSRT_TRY(
      linear("in", source.in(), uint64_t{mixer->inner} + channels + mixer->heads, rows.width, &mixer->in));
  LSRT_TRY(floats("step_bias", source.step_bias(), {mixer->heads}, &mixer->step_bias));
  LSRT_TRY(floats("a", source.a(), {mixer->heads}, &mixer->a));
  mixer->d_per_channel = source.d()->shape()->size() == 1 && source.d()->shape()->Get(0) != mixer->heads;
  LSRT_TRY(floats("d", source.d(), {mixer->d_per_channel ? mixer->inner : mixer->heads}, &mixer->d));
  LSRT_TRY(norm("norm", source.norm(), mixer->inner, &mixer->norm));
  if (mixer->norm.kind != NormKind::kRms) return wrong("norm.kind", "is not rms");
  mixer->step_min = source.step_min(), mixer->step_max = source.step_max();
  if (!(mixer->step_min >= 0 && mixer->step_max >= mixer->step_min)) {
    return wrong("step_min, step_max", "%g, %g", static_cast<double>(mixer->step_min),
                 static_cast<double>(mixer->step_max));
  }
  return {};
}

}  // namespace lsrt
