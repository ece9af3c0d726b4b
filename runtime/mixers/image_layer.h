// What a network of images knows of a layer: a block whose mixer sees all rows of one image. One file for
// each mixer, <kind>_image.cc: its plan and its launches. Nothing else in the runtime knows which mixers of
// images there are.
#pragma once

#include <memory>

#include "runtime/device/device_carver.h"
#include "runtime/mixers/layout_attention.h"

namespace lsrt {

// Of a stage, the same in all its layers. Rows are the cls rows, then grid x grid patches.
struct ImageExtents {
  size_t width, grid, cls_count;

  size_t rows() const { return cls_count + grid * grid; }
};

class ImageLayer {
 public:
  // kUnsupported: the device has no such mixer; no mixer of images. The block, the backend and the layouts,
  // which layers share, must outlive the result.
  static Result<std::unique_ptr<ImageLayer>> create(const Block& block, const ImageExtents& extents,
                                                    Backend& backend, VisionLayouts& layouts);
  virtual ~ImageLayer() = default;

  // First of all: what the launches need.
  virtual void plan(StreamPlan* plan) = 0;

  // -- memory: counted before any is there, then placed, by the same functions

  // Tables that the layer makes itself, beside those of the layouts.
  virtual void place_tables(DeviceCarver* carver) = 0;
  // What lives during run() only: the layers share it.
  virtual void place_scratch(DeviceCarver* carver) = 0;

  // Prepares linear layers, which must be before the stream is made.
  virtual Status prepare() = 0;
  // Fills the tables. Allocates nothing that stays.
  virtual void make_tables(Stream& stream) = 0;

  // x[rows, width] of one image becomes the layer's output.
  virtual void run(Stream& stream, Dev<float> x) = 0;
};

// Of <kind>_image.cc; only those that fit images are defined.
#define LSRT_MIXER(Kind)                                                                              \
  Result<std::unique_ptr<ImageLayer>> make_image_layer(const Block& block, const Kind& mixer,         \
                                                       const ImageExtents& extents, Backend& backend, \
                                                       VisionLayouts& layouts);
#include "runtime/model/mixers.inc"
#undef LSRT_MIXER

}  // namespace lsrt
