// Full attention as a layer of an image network (spec section 3).
#include "runtime/mixers/image_layer.h"
#include "runtime/mixers/layer_runner.h"

namespace lsrt {
namespace {

class FullAttentionLayer : public ImageLayer {
 public:
  FullAttentionLayer(const Block& block, const FullAttention& mixer, const ImageExtents& extents,
                     Backend& backend, VisionLayouts& layouts)
      : mixer_(mixer),
        extents_(extents),
        backend_(backend),
        block_(PreparedBlock::of(block, mixer)),
        runner_(backend),
        all_(backend, layouts, VisionLayout::all(extents.grid, extents.cls_count),
             mixer.relative_bias || mixer.cls_bias) {
    block_.norm_keys_view = &mixer.norm_keys;
  }

  void plan(StreamPlan* plan) override {
    runner_.plan(block_, extents_.rows(), plan);
    all_.plan(store(), 0, plan);
  }

  void place_tables(DeviceCarver* carver) override { all_.place_tables(store(), carver); }
  void place_scratch(DeviceCarver* carver) override {
    attention_ = carver->take<float>(extents_.rows() * extents_.width);
    store_ = carver->take<uint8_t>(backend_.ops().grouped->key_value_bytes(store()));
    runner_.place(carver);
  }

  Status prepare() override { return block_.prepare(backend_); }
  void make_tables(Stream& stream) override {
    all_.make_tables(stream, relative_biases(mixer_, all_.layout()));
  }

  void run(Stream& stream, Dev<float> x) override {
    Projected to{};
    to.store = store();
    to.query = attention_;
    runner_.project(stream, block_, x, extents_.rows(), 0, to);
    all_.attend(stream, store(), 0, attention_);
    runner_.feed_forward(stream, block_, attention_, extents_.rows(), x);
  }

 private:
  KeyValueStore store() const {
    KeyValueStore store = block_.store(extents_.rows());
    store.memory = store_;
    return store;
  }

  const FullAttention& mixer_;
  const ImageExtents extents_;
  Backend& backend_;
  PreparedBlock block_;
  LayerRunner runner_;
  LayoutAttention all_;
  Dev<float> attention_;  // [rows, width]: queries, then what they found
  Dev<void> store_;       // keys and values
};

}  // namespace

Result<std::unique_ptr<ImageLayer>> make_image_layer(const Block& block, const FullAttention& mixer,
                                                     const ImageExtents& extents, Backend& backend,
                                                     VisionLayouts& layouts) {
  LSRT_TRY(needs_grouped(backend));
  return std::unique_ptr<ImageLayer>(new FullAttentionLayer(block, mixer, extents, backend, layouts));
}

}  // namespace lsrt
