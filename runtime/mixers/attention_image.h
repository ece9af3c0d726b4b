// What attentions share as layers of an image network: a prepared block, and scratch for the queries and for
// a store of keys and values.
#pragma once

#include "runtime/mixers/image_layer.h"
#include "runtime/mixers/layer_runner.h"

namespace lsrt {

class AttentionImage : public ImageLayer {
 public:
  void place_scratch(DeviceCarver* carver) override {
    attention_ = carver->take<float>(extents_.rows() * extents_.width);
    store_ = carver->take<uint8_t>(backend_.ops().grouped->key_value_bytes(store()));
    runner_.place(carver);
  }
  Status prepare() override { return block_.prepare(backend_); }

 protected:
  // landmarks: rows of the store behind those of the image.
  AttentionImage(const ImageExtents& extents, Backend& backend, PreparedBlock block, size_t landmarks)
      : extents_(extents),
        backend_(backend),
        block_(std::move(block)),
        runner_(backend),
        landmarks_(landmarks) {}

  // The image's rows, then its landmarks.
  KeyValueStore store() const {
    KeyValueStore store = block_.store(extents_.rows() + landmarks_);
    store.memory = store_;
    return store;
  }

  // Of x[rows, width]: keys and values to the store, queries to attention_.
  Projected projected() const {
    Projected to{};
    to.store = store();
    to.query = attention_;
    return to;
  }

  const ImageExtents extents_;
  Backend& backend_;
  PreparedBlock block_;
  LayerRunner runner_;
  Dev<float> attention_;  // [rows, width]: queries, then what they found

 private:
  const size_t landmarks_;
  Dev<void> store_;  // keys and values
};

// Of a mixer that fits a backend with attention in groups.
template <typename Layer, typename Kind>
Result<std::unique_ptr<ImageLayer>> make_attention_image(const Block& block, const Kind& mixer,
                                                         const ImageExtents& extents, Backend& backend,
                                                         VisionLayouts& layouts) {
  if (!backend.ops().grouped) {
    return fail(Error::kUnsupported, "backend '%s' has no attention in groups", backend.info().name);
  }
  return std::unique_ptr<ImageLayer>(new Layer(block, mixer, extents, backend, layouts));
}

}  // namespace lsrt
