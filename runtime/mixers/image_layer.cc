#include "runtime/mixers/image_layer.h"

namespace lsrt {

Result<std::unique_ptr<ImageLayer>> ImageLayer::create(const Block& block, const ImageExtents& extents,
                                                       Backend& backend, VisionLayouts& layouts) {
  using Made = Result<std::unique_ptr<ImageLayer>>;
  const auto make = [&](const auto& mixer) -> Made {
    if constexpr (std::decay_t<decltype(mixer)>::fits(Family::kVil)) {
      return make_image_layer(block, mixer, extents, backend, layouts);
    } else {
      return fail(Error::kUnsupported, "a layer of an image classifier does not see images");
    }
  };
  return std::visit(make, block.mixer);
}

}  // namespace lsrt
