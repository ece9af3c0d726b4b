// Attention among the rows of an image as a layout groups them, with the relative biases of one layer.
#pragma once

#include <deque>
#include <vector>

#include "runtime/device/device_carver.h"
#include "runtime/mixers/vision_layout.h"

namespace lsrt {

// The layouts of a network and their tables on the device, which its layers share.
class VisionLayouts {
 public:
  struct Placed {
    VisionLayout layout;
    Dev<int32_t> query_rows, key_rows, bias_offsets;
  };

  // The one that equals this layout, which stays where it is.
  const Placed& share(const VisionLayout& layout);

  void place(DeviceCarver* carver);
  // Builds the tables of one layout at a time.
  void make_tables(Backend& backend, Stream& stream);

 private:
  std::deque<Placed> layouts_;
};

class LayoutAttention {
 public:
  // biased: whether the layer has biases.
  LayoutAttention(Backend& backend, VisionLayouts& layouts, const VisionLayout& layout, bool biased)
      : backend_(backend), placed_(layouts.share(layout)), biased_(biased) {}

  const VisionLayout& layout() const { return placed_.layout; }

  // store: keys and values of the layout's rows, then of `globals` more that every query sees.
  void plan(const KeyValueStore& store, size_t globals, StreamPlan* plan) const;
  void place_tables(const KeyValueStore& store, DeviceCarver* carver);
  // biases: of the layout, for all heads; not looked at unless the layer has some.
  void make_tables(Stream& stream, const std::vector<float>& biases) const;

  // rows[rows, width]: the queries, then what they found. Rows that are no queries stay as they are.
  void attend(Stream& stream, const KeyValueStore& store, size_t globals, Dev<float> rows) const;

 private:
  GroupedAttention shape(const KeyValueStore& store, size_t globals) const;

  Backend& backend_;
  const VisionLayouts::Placed& placed_;
  const bool biased_;
  Dev<float> bias_;  // [heads, bias_floats()], or null
};

}  // namespace lsrt
