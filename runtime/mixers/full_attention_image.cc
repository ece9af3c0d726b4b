// Full attention as a layer of an image network (spec section 3).
#include "runtime/mixers/attention_image.h"

namespace lsrt {
namespace {

class FullAttentionLayer : public AttentionImage {
 public:
  FullAttentionLayer(const Block& block, const FullAttention& mixer, const ImageExtents& extents,
                     Backend& backend, VisionLayouts& layouts)
      : AttentionImage(extents, backend, PreparedBlock::of(block, mixer), 0),
        mixer_(mixer),
        all_(backend, layouts, VisionLayout::all(extents.grid, extents.cls_count),
             mixer.relative_bias || mixer.cls_bias) {
    block_.norm_keys_view = &mixer.norm_keys;
  }

  void plan(StreamPlan* plan) override {
    runner_.plan(block_, extents_.rows(), plan);
    all_.plan(store(), 0, plan);
  }

  void place_tables(DeviceCarver* carver) override { all_.place_tables(store(), carver); }
  void make_tables(Stream& stream) override {
    all_.make_tables(stream, relative_biases(mixer_, all_.layout()));
  }

  void run(Stream& stream, Dev<float> x) override {
    runner_.project(stream, block_, x, extents_.rows(), 0, projected());
    all_.attend(stream, store(), 0, attention_);
    runner_.feed_forward(stream, block_, attention_, extents_.rows(), x);
  }

 private:
  const FullAttention& mixer_;
  LayoutAttention all_;
};

}  // namespace

Result<std::unique_ptr<ImageLayer>> make_image_layer(const Block& block, const FullAttention& mixer,
                                                     const ImageExtents& extents, Backend& backend,
                                                     VisionLayouts& layouts) {
  return make_attention_image<FullAttentionLayer>(block, mixer, extents, backend, layouts);
}

}  // namespace lsrt
