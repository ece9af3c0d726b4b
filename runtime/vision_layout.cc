#include "runtime/vision_layout.h"

#include <algorithm>

namespace lsrt {
namespace {

size_t reach_of(size_t window) { return std::max<size_t>(window / 2, 1); }

}  // namespace

VisionLayout::VisionLayout(size_t grid_size, size_t cls, size_t f)
    : grid(grid_size), cls_count(cls), window(f) {
  if (window == 0) {
    side = span = grid;
    group_queries = group_keys = rows();
    for (size_t i = 0; i < rows(); ++i) query_rows.push_back(static_cast<int32_t>(i));
    key_rows = query_rows;
    return;
  }
  // A group that covers the image has no neighbours to look at.
  const bool covers = window >= grid;
  const int64_t n = grid, reach = covers ? 0 : reach_of(window);
  side = std::min(window, grid);
  span = side + 2 * reach;
  group_queries = side * side;
  group_keys = span * span + cls_count;
  const size_t cuts = (grid + side - 1) / side;
  groups = cuts * cuts;
  auto patch_row = [&](int64_t y, int64_t x) {
    const bool inside = 0 <= y && y < n && 0 <= x && x < n;
    return static_cast<int32_t>(inside ? static_cast<int64_t>(cls_count) + y * n + x : -1);
  };
  for (size_t group = 0; group < groups; ++group) {
    const int64_t top = group / cuts * side, left = group % cuts * side;
    for (size_t i = 0; i < group_queries; ++i)
      query_rows.push_back(patch_row(top + i / side, left + i % side));
    for (size_t i = 0; i < span * span; ++i) {
      key_rows.push_back(patch_row(top - reach + i / span, left - reach + i % span));
    }
    for (size_t i = 0; i < cls_count; ++i) key_rows.push_back(static_cast<int32_t>(i));
  }
}

std::vector<float> relative_biases(const VisionLongShort& mixer, const VisionLayout& l) {
  if (!mixer.relative_bias) return {};
  const size_t farthest = mixer.window - 1 + reach_of(mixer.window), table_side = 2 * farthest + 1;
  const size_t reach = (l.span - l.side) / 2;
  std::vector<float> out(mixer.heads * l.group_queries * l.group_keys);  // nothing for the cls row
  for (size_t head = 0; head < mixer.heads; ++head) {
    for (size_t query = 0; query < l.group_queries; ++query) {
      float* row = &out[(head * l.group_queries + query) * l.group_keys];
      for (size_t key = 0; key < l.span * l.span; ++key) {
        const size_t dy = farthest + query / l.side + reach - key / l.span;
        const size_t dx = farthest + query % l.side + reach - key % l.span;
        row[key] = mixer.relative_bias[(dy * table_side + dx) * mixer.heads + head];
      }
    }
  }
  return out;
}

std::vector<float> relative_biases(const FullAttention& mixer, const VisionLayout& l) {
  if (!mixer.relative_bias && !mixer.cls_bias) return {};
  const size_t n = l.grid, table_side = 2 * n - 1;
  std::vector<float> out(mixer.heads * l.rows() * l.rows());
  for (size_t head = 0; head < mixer.heads; ++head) {
    for (size_t query = 0; query < l.rows(); ++query) {
      float* row = &out[(head * l.rows() + query) * l.rows()];
      for (size_t key = 0; key < l.rows(); ++key) {
        const bool query_cls = query < l.cls_count, key_cls = key < l.cls_count;
        if (query_cls || key_cls) {
          const size_t kind = query_cls && key_cls ? 0 : query_cls ? 1 : 2;  // cls-cls, cls-token, token-cls
          if (mixer.cls_bias) row[key] = mixer.cls_bias[kind * mixer.heads + head];
        } else if (mixer.relative_bias) {
          const size_t from = query - l.cls_count, to = key - l.cls_count;
          const size_t dy = n - 1 + from / n - to / n, dx = n - 1 + from % n - to % n;
          row[key] = mixer.relative_bias[(dy * table_side + dx) * mixer.heads + head];
        }
      }
    }
  }
  return out;
}

}  // namespace lsrt
