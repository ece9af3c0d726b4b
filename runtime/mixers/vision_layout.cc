#include "runtime/mixers/vision_layout.h"

#include <algorithm>
#include <limits>

namespace lsrt {
namespace {

constexpr float kUnseen = -std::numeric_limits<float>::infinity();  // the bias of a key that must not be seen

// Biases of the cls rows: those to patches and those of patches to them, [heads, cls_count]; among
// themselves, [heads, query, key]. All null, or none.
struct ClsBiases {
  const float *to_patches, *of_patches, *among;
};

// relative: [table_side^2, heads] by distance of query minus key, or null.
std::vector<float> bias_tables(size_t heads, const float* relative, const ClsBiases& cls,
                               const VisionLayout& l) {
  if (!relative && !cls.among) return {};
  const size_t side = l.table_side, g = l.cls_count;
  std::vector<float> out(heads * l.bias_floats());
  for (size_t head = 0; head < heads; ++head) {
    float* table = &out[head * l.bias_floats()];
    for (size_t i = 0; relative && i < side * side; ++i) {
      table[i] = relative[(i / side * side + side - 1 - i % side) * heads + head];
    }
    if (!cls.among) continue;
    table += side * side;
    for (size_t i = 0; i < l.cls_queries(); ++i) {
      table = std::fill_n(table, l.span, cls.to_patches[head * g + i]);
      table = std::copy_n(cls.among + (head * g + i) * g, g, table);
    }
    std::copy_n(cls.of_patches + head * g, g, table);
  }
  return out;
}

}  // namespace

VisionLayout VisionLayout::all(size_t grid, size_t cls_count) {
  VisionLayout l{Kind::kAll, grid, cls_count, 0, 0, false, grid, grid, 1, 0, 0, 2 * grid - 1};
  l.group_queries = l.group_keys = l.rows();
  return l;
}

VisionLayout VisionLayout::globals(size_t grid, size_t cls_count) {
  VisionLayout l{Kind::kGlobals, grid, cls_count, 0, 0, false, grid, grid, 1, cls_count, 0, 0};
  l.group_keys = l.rows();
  return l;
}

VisionLayout VisionLayout::windows(size_t grid, size_t cls_count, size_t window, size_t margin, bool torus) {
  VisionLayout l{Kind::kWindows, grid, cls_count, window, margin, torus, 0, 0, 0, 0, 0, 0};
  // A group that covers the image has no neighbours to look at, unless it is its own.
  const bool covers = window >= grid && !torus;
  l.side = covers ? grid : window;
  l.span = covers ? grid : window + 2 * margin;
  l.groups = l.cuts() * l.cuts();
  l.group_queries = l.side * l.side;
  l.group_keys = l.span * l.span + cls_count;
  l.table_side = 2 * (window - 1 + margin) + 1;
  return l;
}

LayoutTables VisionLayout::tables() const {
  LayoutTables tables;
  tables.query_rows.reserve(query_row_count());
  tables.key_rows.reserve(key_row_count());
  tables.bias_offsets.reserve(bias_offset_count());
  const int64_t n = static_cast<int64_t>(grid), around = static_cast<int64_t>((span - side) / 2);
  const int64_t turn = static_cast<int64_t>(cuts() * side);  // of a torus: groups are whole
  const auto patch_row = [&](int64_t y, int64_t x) {
    if (torus) y = (y + turn * around) % turn, x = (x + turn * around) % turn;
    const bool inside = 0 <= y && y < n && 0 <= x && x < n;
    return static_cast<int32_t>(inside ? static_cast<int64_t>(cls_count) + y * n + x : -1);
  };
  for (size_t group = 0; group < groups; ++group) {
    const int64_t top = group / cuts() * side, left = group % cuts() * side;
    for (size_t i = 0; i < cls_queries(); ++i) tables.query_rows.push_back(static_cast<int32_t>(i));
    for (size_t i = 0; i < patch_queries(); ++i) {
      tables.query_rows.push_back(patch_row(top + i / side, left + i % side));
    }
    for (size_t i = 0; i < span * span; ++i) {
      tables.key_rows.push_back(patch_row(top - around + i / span, left - around + i % span));
    }
    for (size_t i = 0; i < cls_count; ++i) tables.key_rows.push_back(static_cast<int32_t>(i));
  }
  const auto offset = [&](size_t at) { tables.bias_offsets.push_back(static_cast<int32_t>(at)); };
  const auto cls_keys = [&](size_t at) {
    for (size_t i = 0; i < cls_count; i += span) offset(at + i);
  };
  size_t rest = table_side * table_side;
  for (size_t i = 0; i < cls_queries(); ++i, rest += span + cls_count) {
    for (size_t y = 0; y < span; ++y) offset(rest);
    cls_keys(rest + span);
  }
  const size_t farthest = table_side / 2;
  for (size_t i = 0; i < patch_queries(); ++i) {
    const size_t dx = farthest + i % side + around;  // to the first key of a run
    for (size_t y = 0; y < span; ++y) {
      const size_t dy = farthest + i / side + around - y;
      offset(dy * table_side + table_side - 1 - dx);
    }
    cls_keys(rest);
  }
  return tables;
}

std::vector<float> relative_biases(const VisionLongShort& mixer, const VisionLayout& layout) {
  return bias_tables(mixer.heads, mixer.relative_bias, {}, layout);
}

std::vector<float> relative_biases(const FullAttention& mixer, const VisionLayout& layout) {
  const float* cls = mixer.cls_bias;  // [3, heads]: among themselves, to patches, of patches
  if (!cls) return bias_tables(mixer.heads, mixer.relative_bias, {}, layout);
  return bias_tables(mixer.heads, mixer.relative_bias, {cls + mixer.heads, cls + 2 * mixer.heads, cls},
                     layout);
}

std::vector<float> relative_biases(const VisionWindow& mixer, const VisionLayout& layout) {
  const size_t heads = mixer.heads, side = layout.table_side;
  const bool windows = layout.kind == VisionLayout::Kind::kWindows;
  ClsBiases cls{};
  if (mixer.global_bias) {
    cls = {mixer.global_bias, mixer.global_bias + heads * layout.cls_count, mixer.global_global_bias};
  }
  std::vector<float> biases = bias_tables(heads, windows ? mixer.relative_bias : nullptr, cls, layout);
  if (!windows || mixer.edge != WindowEdge::kExact) return biases;
  biases.resize(heads * layout.bias_floats());
  const auto far = [&](size_t i) {
    const size_t middle = side / 2, distance = i > middle ? i - middle : middle - i;
    return distance > mixer.window;
  };
  for (size_t i = 0; i < side * side; ++i) {
    if (!far(i / side) && !far(i % side)) continue;
    for (size_t head = 0; head < heads; ++head) biases[head * layout.bias_floats() + i] = kUnseen;
  }
  return biases;
}

}  // namespace lsrt
