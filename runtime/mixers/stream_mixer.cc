#include "runtime/mixers/mixer.h"

namespace lsrt {
namespace {

struct Make {
  const StreamExtents& extents;
  Backend& backend;

  using Made = Result<std::unique_ptr<StreamMixer>>;
  template <typename Kind>
  Made operator()(const Kind& mixer) const {
    if constexpr (Kind::fits(Family::kLm)) {
      return make_stream_mixer(mixer, extents, backend);
    } else {
      return fail(Error::kUnsupported, "a layer of a language model looks ahead");
    }
  }
};

}  // namespace

Result<std::unique_ptr<StreamMixer>> StreamMixer::create(const Mixer& mixer, const StreamExtents& extents,
                                                         Backend& backend) {
  return std::visit(Make{extents, backend}, mixer);
}

}  // namespace lsrt
