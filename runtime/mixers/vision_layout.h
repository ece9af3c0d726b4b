// Which rows of an image see which, and the relative biases between them, as tables for GroupedAttention.
// Rows of a stage are the cls rows, if there are some, then grid x grid patches.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/model/model.h"

namespace lsrt {

struct LayoutTables {
  std::vector<int32_t> query_rows;  // [groups, group_queries]; -1: outside the image
  std::vector<int32_t>
      key_rows;  // [groups, group_keys]: span rows of span patches, then the cls rows; -1 as well
  std::vector<int32_t> bias_offsets;  // [group_queries, runs()]: of runs of span keys
};

// Extents alone: the tables may be larger than memory is.
struct VisionLayout {
  enum class Kind : uint8_t {
    kAll,      // one group: all rows see all rows
    kWindows,  // groups of window x window patches see themselves, `margin` patches around and the cls rows
    kGlobals,  // one group: the cls rows see all rows
  };
  Kind kind;
  size_t grid, cls_count;
  size_t window, margin;  // of kWindows
  bool torus;             // kWindows: what lies beyond an edge is what lies behind the opposite one

  size_t side, span;  // patches on a side of a group and of what its queries see
  size_t groups, group_queries, group_keys;
  // A head's biases: [table_side, table_side] by distance of query and key, each row from the farthest key on
  // the left to the farthest on the right; for each cls row that is a query, [span] equal ones to patches and
  // [cls_count] to cls rows; [cls_count] of patches as queries to cls rows.
  size_t table_side;

  static VisionLayout all(size_t grid, size_t cls_count);
  static VisionLayout windows(size_t grid, size_t cls_count, size_t window, size_t margin,
                              bool torus = false);
  static VisionLayout globals(size_t grid, size_t cls_count);

  LayoutTables tables() const;
  size_t query_row_count() const { return groups * group_queries; }
  size_t key_row_count() const { return groups * group_keys; }
  size_t runs() const { return span + (cls_count + span - 1) / span; }
  size_t bias_offset_count() const { return group_queries * runs(); }
  size_t cls_queries() const { return kind == Kind::kWindows ? 0 : cls_count; }
  size_t patch_queries() const { return group_queries - cls_queries(); }  // of a group
  size_t bias_floats() const {
    return table_side * table_side + cls_queries() * (span + cls_count) + cls_count;
  }
  size_t rows() const { return cls_count + grid * grid; }

  friend bool operator==(const VisionLayout& a, const VisionLayout& b) {
    return a.kind == b.kind && a.grid == b.grid && a.cls_count == b.cls_count && a.window == b.window &&
           a.margin == b.margin && a.torus == b.torus;
  }

 private:
  size_t cuts() const { return (grid + side - 1) / side; }  // groups along an axis
};

// Biases [heads, bias_floats()] in the layout that bias_offsets points into; empty where the mixer has none.
std::vector<float> relative_biases(const VisionLongShort& mixer, const VisionLayout& layout);
std::vector<float> relative_biases(const FullAttention& mixer, const VisionLayout& layout);
// kWindows or kGlobals: only the first may have biases where the mixer has none, to hide what is too far
// away.
std::vector<float> relative_biases(const VisionWindow& mixer, const VisionLayout& layout);

}  // namespace lsrt
