// Two-dimensional long-short attention as a layer of an image network (spec section 3): windows with the
// landmarks of the whole image in one softmax; the cls row then looks at what all others found.
#include "runtime/mixers/image_layer.h"
#include "runtime/mixers/layer_runner.h"

namespace lsrt {
namespace {

class VisionLongShortLayer : public ImageLayer {
 public:
  VisionLongShortLayer(const Block& block, const VisionLongShort& mixer, const ImageExtents& extents,
                       Backend& backend, VisionLayouts& layouts)
      : mixer_(mixer),
        extents_(extents),
        grouped_(*backend.ops().grouped),
        backend_(backend),
        block_(PreparedBlock::of(block, mixer)),
        runner_(backend),
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
    attention_ = carver->take<float>(extents_.rows() * extents_.width);
    store_ = carver->take<uint8_t>(grouped_.key_value_bytes(store()));
    cls_key_value_ = carver->take<float>(extents_.cls_count * 2 * extents_.width);
    landmark_key_ = carver->take<float>(mixer_.rank * extents_.width);
    landmark_value_ = carver->take<float>(mixer_.rank * extents_.width);
    runner_.place(carver);
  }

  Status prepare() override { return block_.prepare(backend_); }
  void make_tables(Stream& stream) override {
    windows_.make_tables(stream, relative_biases(mixer_, windows_.layout()));
  }

  void run(Stream& stream, Dev<float> x) override {
    const size_t rows = extents_.rows(), cls = extents_.cls_count;
    Projected to{};
    to.store = store();
    to.query = attention_;
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
  // The image's rows, then its landmarks.
  KeyValueStore store() const {
    KeyValueStore store = block_.store(extents_.rows() + mixer_.rank);
    store.memory = store_;
    return store;
  }
  ClsAttention cls_extents() const {
    ClsAttention a{};
    a.heads = mixer_.heads, a.head_dim = mixer_.head_dim;
    a.rows = extents_.grid * extents_.grid, a.stride = extents_.width;
    return a;
  }

  const VisionLongShort& mixer_;
  const ImageExtents extents_;
  const GroupedOps& grouped_;
  Backend& backend_;
  PreparedBlock block_;
  LayerRunner runner_;
  LayoutAttention windows_;
  Dev<float> attention_;       // [rows, width]: queries, then what they found
  Dev<void> store_;            // keys and values
  Dev<float> cls_key_value_;   // [2 width]
  Dev<float> landmark_key_;    // [rank, width]
  Dev<float> landmark_value_;  // [rank, width]
};

}  // namespace

Result<std::unique_ptr<ImageLayer>> make_image_layer(const Block& block, const VisionLongShort& mixer,
                                                     const ImageExtents& extents, Backend& backend,
                                                     VisionLayouts& layouts) {
  LSRT_TRY(needs_grouped(backend));
  return std::unique_ptr<ImageLayer>(new VisionLongShortLayer(block, mixer, extents, backend, layouts));
}

}  // namespace lsrt
