// Two-dimensional long-short attention as a layer of an image network (spec section 3): windows with the
// landmarks of the whole image in one softmax; the cls row then looks at what all others found.
#include "runtime/mixers/attention_image.h"

namespace lsrt {
namespace {

class VisionLongShortLayer : public AttentionImage {
 public:
  VisionLongShortLayer(const Block& block, const VisionLongShort& mixer, const ImageExtents& extents,
                       Backend& backend, VisionLayouts& layouts)
      : AttentionImage(extents, backend, PreparedBlock::of(block, mixer), mixer.rank),
        mixer_(mixer),
        grouped_(*backend.ops().grouped),
        windows_(backend, layouts,
                 VisionLayout::windows(extents.grid, extents.cls_count, mixer.window, mixer.margin()),
                 mixer.relative_bias != nullptr) {
    block_.rank = mixer.rank;
    block_.norm_keys_view = &mixer.norm_window;
    block_.norm_summary_view = &mixer.norm_summary;
  }

  void plan(StreamPlan* plan) override {
    runner_.plan(block_, extents_.rows(), plan);
    windows_.plan(store(), mixer_.rank, plan);
    if (extents_.cls_count) grouped_.plan(cls_extents(), plan);
  }

  void place_tables(DeviceCarver* carver) override { windows_.place_tables(store(), carver); }
  void place_scratch(DeviceCarver* carver) override {
    AttentionImage::place_scratch(carver);
    cls_key_value_ = carver->take<float>(extents_.cls_count * 2 * extents_.width);
    landmark_key_ = carver->take<float>(mixer_.rank * extents_.width);
    landmark_value_ = carver->take<float>(mixer_.rank * extents_.width);
  }

  void make_tables(Stream& stream) override {
    windows_.make_tables(stream, relative_biases(mixer_, windows_.layout()));
  }

  void run(Stream& stream, Dev<float> x) override {
    const size_t rows = extents_.rows(), cls = extents_.cls_count;
    Projected to = projected();
    if (cls) to.lead_key_value = cls_key_value_;
    to.landmark_key = landmark_key_, to.landmark_value = landmark_value_;
    runner_.project(stream, block_, x, rows, cls, to);
    if (mixer_.rank) {
      runner_.store_globals(stream, block_.norm_summary, store(), rows, mixer_.rank, landmark_key_,
                            landmark_value_);
    }
    windows_.attend(stream, store(), mixer_.rank, attention_);
    if (cls) {
      ClsAttention attention = cls_extents();
      attention.query = attention.out = attention_;
      attention.key = cls_key_value_, attention.value = cls_key_value_ + extents_.width;
      attention.x = attention_ + cls * extents_.width;
      grouped_.attend(stream, attention);
    }
    runner_.feed_forward(stream, block_, attention_, rows, x);
  }

 private:
  ClsAttention cls_extents() const {
    ClsAttention a{};
    a.heads = mixer_.heads, a.head_dim = mixer_.head_dim;
    a.rows = extents_.grid * extents_.grid, a.stride = extents_.width;
    return a;
  }

  const VisionLongShort& mixer_;
  const GroupedOps& grouped_;
  LayoutAttention windows_;
  Dev<float> cls_key_value_;   // [2 width]
  Dev<float> landmark_key_;    // [rank, width]
  Dev<float> landmark_value_;  // [rank, width]
};

}  // namespace

Result<std::unique_ptr<ImageLayer>> make_image_layer(const Block& block, const VisionLongShort& mixer,
                                                     const ImageExtents& extents, Backend& backend,
                                                     VisionLayouts& layouts) {
  return make_attention_image<VisionLongShortLayer>(block, mixer, extents, backend, layouts);
}

}  // namespace lsrt
