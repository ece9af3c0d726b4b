#include "runtime/classify/vision_layout.h"

#include <algorithm>

namespace lsrt {
namespace {

size_t reach_of(size_t window) { return std::max<size_t>(window / 2, 1); }

// relative: [table_side^2, heads] by distance of query minus key. cls: [3, heads], cls-cls, cls-token,
// token-cls. Either may be null.
std::vector<float> bias_tables(size_t heads, const float* relative, const float* cls, const VisionLayout& l) {
  if (!relative && !cls) return {};
  const size_t side = l.table_side;
  std::vector<float> out(heads * l.bias_floats());
  for (size_t head = 0; head < heads; ++head) {
    float* table = &out[head * l.bias_floats()];
    for (size_t i = 0; relative && i < side * side; ++i) {
      table[i] = relative[(i / side * side + side - 1 - i % side) * heads + head];
    }
    if (!cls) continue;
    float* rest = table + side * side;
    std::fill_n(rest, l.span, cls[heads + head]);
    rest[l.span] = cls[2 * heads + head];
    rest[l.span + 1] = cls[head];
  }
  return out;
}

}  // namespace

VisionLayout::VisionLayout(size_t grid_size, size_t cls, size_t f)
    : grid(grid_size), cls_count(cls), window(f) {
  // A group that covers the image has no neighbours to look at.
  const bool full = window == 0, covers = full || window >= grid;
  side = covers ? grid : window;
  span = side + 2 * (covers ? 0 : reach_of(window));
  const size_t farthest = full ? grid - 1 : window - 1 + reach_of(window);
  table_side = 2 * farthest + 1;
  const size_t cuts = (grid + side - 1) / side;
  groups = cuts * cuts;
  group_queries = cls_queries() + side * side;
  group_keys = span * span + cls_count;
}

LayoutTables VisionLayout::tables() const {
  LayoutTables tables;
  tables.query_rows.reserve(query_row_count());
  tables.key_rows.reserve(key_row_count());
  tables.bias_offsets.reserve(bias_offset_count());
  const int64_t n = static_cast<int64_t>(grid), margin = static_cast<int64_t>(reach());
  auto patch_row = [&](int64_t y, int64_t x) {
    const bool inside = 0 <= y && y < n && 0 <= x && x < n;
    return static_cast<int32_t>(inside ? static_cast<int64_t>(cls_count) + y * n + x : -1);
  };
  const size_t cuts = (grid + side - 1) / side;
  for (size_t group = 0; group < groups; ++group) {
    const int64_t top = group / cuts * side, left = group % cuts * side;
    for (size_t i = 0; i < cls_queries(); ++i) tables.query_rows.push_back(static_cast<int32_t>(i));
    for (size_t i = 0; i < side * side; ++i) {
      tables.query_rows.push_back(patch_row(top + i / side, left + i % side));
    }
    for (size_t i = 0; i < span * span; ++i) {
      tables.key_rows.push_back(patch_row(top - margin + i / span, left - margin + i % span));
    }
    for (size_t i = 0; i < cls_count; ++i) tables.key_rows.push_back(static_cast<int32_t>(i));
  }
  const size_t rest = table_side * table_side, farthest = table_side / 2;
  for (size_t i = 0; i < cls_queries(); ++i) {
    tables.bias_offsets.insert(tables.bias_offsets.end(), span, static_cast<int32_t>(rest));
    tables.bias_offsets.push_back(static_cast<int32_t>(rest + span + 1));
  }
  for (size_t i = 0; i < side * side; ++i) {
    const size_t dx = farthest + i % side + reach();  // to the first key of a run
    for (size_t y = 0; y < span; ++y) {
      const size_t dy = farthest + i / side + reach() - y;
      tables.bias_offsets.push_back(static_cast<int32_t>(dy * table_side + table_side - 1 - dx));
    }
    if (cls_count) tables.bias_offsets.push_back(static_cast<int32_t>(rest + span));
  }
  return tables;
}

size_t bias_count(const VisionLongShort& mixer, const VisionLayout& layout) {
  return mixer.relative_bias ? mixer.heads * layout.bias_floats() : 0;
}

size_t bias_count(const FullAttention& mixer, const VisionLayout& layout) {
  return mixer.relative_bias || mixer.cls_bias ? mixer.heads * layout.bias_floats() : 0;
}

std::vector<float> relative_biases(const VisionLongShort& mixer, const VisionLayout& layout) {
  return bias_tables(mixer.heads, mixer.relative_bias, nullptr, layout);
}

std::vector<float> relative_biases(const FullAttention& mixer, const VisionLayout& layout) {
  return bias_tables(mixer.heads, mixer.relative_bias, mixer.cls_bias, layout);
}

}  // namespace lsrt
