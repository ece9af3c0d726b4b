// Which rows of an image see which, and the relative biases between them, as tables for GroupedAttention.
// Rows of a stage are the cls row, if there is one, then grid x grid patches.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/model/model.h"

namespace lsrt {

struct LayoutTables {
  std::vector<int32_t> query_rows;    // [groups, group_queries]; -1: outside the image
  std::vector<int32_t> key_rows;      // [groups, group_keys]: span rows of span patches, then the cls row
  std::vector<int32_t> bias_offsets;  // [group_queries, span + cls_count]: of runs of span keys
};

// Extents alone: the tables may be larger than memory is.
struct VisionLayout {
  size_t grid, cls_count;
  size_t window;      // patches on a side of a group; 0: one group of all rows
  size_t side, span;  // patches on a side of a group and of what its queries see
  size_t groups = 1, group_queries, group_keys;
  // A head's biases: [table_side, table_side] by distance of query and key, each row from the farthest key on
  // the left to the farthest on the right; [span] of the cls row as a query; one of it as a key; one of it
  // with itself.
  size_t table_side;

  // window 0: all rows see all rows.
  VisionLayout(size_t grid, size_t cls_count, size_t window);

  LayoutTables tables() const;
  size_t query_row_count() const { return groups * group_queries; }
  size_t key_row_count() const { return groups * group_keys; }
  size_t bias_offset_count() const { return group_queries * (span + cls_count); }
  size_t bias_floats() const { return table_side * table_side + span + 2; }
  size_t rows() const { return cls_count + grid * grid; }
  bool is(size_t other_grid, size_t other_cls, size_t other_window) const {
    return grid == other_grid && cls_count == other_cls && window == other_window;
  }

 private:
  size_t reach() const { return (span - side) / 2; }
  size_t cls_queries() const { return window == 0 ? cls_count : 0; }
};

// Biases [heads, bias_floats()] in the layout that bias_offsets points into; empty where the mixer has none.
std::vector<float> relative_biases(const VisionLongShort& mixer, const VisionLayout& layout);
std::vector<float> relative_biases(const FullAttention& mixer, const VisionLayout& layout);
// How many that are.
size_t bias_count(const VisionLongShort& mixer, const VisionLayout& layout);
size_t bias_count(const FullAttention& mixer, const VisionLayout& layout);

}  // namespace lsrt
