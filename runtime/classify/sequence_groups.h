// Index tables of windowed attention over a document: groups of neighbouring positions, whose queries see the
// group and `reach` positions on either side of it. Only real tokens have rows, packed one after another;
// groups keep to positions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/model/model.h"

namespace lsrt {

// Where the real tokens of a document are.
struct PackedRows {
  int32_t* row_at = nullptr;       // [positions]: row of a position, -1: none there
  int32_t* position_of = nullptr;  // [rows]
  size_t positions = 0;            // up to the last real token
  size_t rows = 0;

  // mask[length]: 0 where there is no token; null: all are real.
  void pack(const int32_t* mask, size_t length);
};

struct SequenceGroups {
  size_t queries, reach;          // positions: of a group, on either side
  bool keys;                      // false: the queries see no keys of the document
  int32_t* query_rows = nullptr;  // [count, queries]; -1: none
  int32_t* key_rows = nullptr;    // [count, group_keys()]; -1: none
  size_t count = 0;               // groups of the document: those with a token in them

  explicit SequenceGroups(const EncoderLongShort& mixer);

  size_t group_keys() const { return keys ? queries + 2 * reach : 0; }
  size_t first_row(size_t group) const;  // where the rows of a group start; the next group's come after them
  size_t most(size_t length) const { return (length + queries - 1) / queries; }  // groups
  bool same_cut(const SequenceGroups& other) const {
    return queries == other.queries && reach == other.reach && keys == other.keys;
  }
  void build(const PackedRows& document);
};

}  // namespace lsrt
