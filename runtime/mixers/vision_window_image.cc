// Windows of one grid with global rows as a layer of an image network (spec more-mixers, section 1).
#include <optional>

#include "runtime/mixers/attention_image.h"

namespace lsrt {
namespace {

class VisionWindowLayer : public AttentionImage {
 public:
  VisionWindowLayer(const Block& block, const VisionWindow& mixer, const ImageExtents& extents,
                    Backend& backend, VisionLayouts& layouts)
      : AttentionImage(extents, backend, PreparedBlock::of(block, mixer), 0),
        mixer_(mixer),
        windows_(backend, layouts,
                 VisionLayout::windows(extents.grid, extents.cls_count, mixer.window, mixer.margin,
                                       mixer.edge == WindowEdge::kTorus),
                 mixer.relative_bias || mixer.global_bias || mixer.edge == WindowEdge::kExact) {
    block_.globals = extents.cls_count;
    if (block_.globals) {
      globals_.emplace(backend, layouts, VisionLayout::globals(extents.grid, extents.cls_count),
                       mixer.global_bias != nullptr);
    }
    if (mixer.global_qkv.weight) {
      block_.global_qkv_view = &mixer.global_qkv;
      block_.global_out_view = &mixer.global_out;
    }
  }

  void plan(StreamPlan* plan) override {
    runner_.plan(block_, extents_.rows(), plan);
    windows_.plan(store(), 0, plan);
    if (globals_) globals_->plan(store(), 0, plan);
  }

  void place_tables(DeviceCarver* carver) override {
    windows_.place_tables(store(), carver);
    if (globals_) globals_->place_tables(store(), carver);
  }
  void make_tables(Stream& stream) override {
    windows_.make_tables(stream, relative_biases(mixer_, windows_.layout()));
    if (globals_) globals_->make_tables(stream, relative_biases(mixer_, globals_->layout()));
  }

  void run(Stream& stream, Dev<float> x) override {
    const Projected to = projected();
    runner_.project(stream, block_, x, extents_.rows(), 0, to);
    windows_.attend(stream, store(), 0, attention_);
    if (globals_) {
      // No patch needs its keys any more.
      if (block_.global_qkv) runner_.project_globals(stream, block_, x, extents_.rows(), to);
      globals_->attend(stream, store(), 0, attention_);
    }
    runner_.feed_forward(stream, block_, attention_, extents_.rows(), x);
  }

 private:
  const VisionWindow& mixer_;
  LayoutAttention windows_;
  std::optional<LayoutAttention> globals_;  // none without cls rows
};

}  // namespace

Result<std::unique_ptr<ImageLayer>> make_image_layer(const Block& block, const VisionWindow& mixer,
                                                     const ImageExtents& extents, Backend& backend,
                                                     VisionLayouts& layouts) {
  return make_attention_image<VisionWindowLayer>(block, mixer, extents, backend, layouts);
}

}  // namespace lsrt
