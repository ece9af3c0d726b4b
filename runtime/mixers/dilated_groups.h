// Which rows see which in dilated attention (spec more-mixers, section 3), as lists for GroupedAttention.
// Heads that look at the same residues share all lists. For such heads, rows that see by the same dilations
// and lie in the same segments of these have the same keys: they are a group. Lists are made for a batch of
// groups at a time, so that they take no more memory than the rows do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/function_ref.h"
#include "runtime/model/mixer_views.h"

namespace lsrt {

// Groups that see by the same dilations: a launch.
struct DilatedBatch {
  size_t first_head, heads;
  size_t groups, group_queries, group_keys;
  const int32_t* query_rows;  // [groups, group_queries]; -1: none
  const int32_t* key_rows;    // [groups, group_keys]
};

class DilatedGroups {
 public:
  explicit DilatedGroups(const DilatedAttention& mixer);

  // -- extents of any batch over at most `rows` rows

  size_t most_heads() const;
  size_t most_queries(size_t rows) const;
  size_t most_keys(size_t rows) const;
  size_t most_groups() const { return kBatchIndices; }
  size_t most_indices(size_t rows) const;  // of both lists

  // Of the calls of for_batches() over at most `rows` rows.
  struct Scratch {
    uint8_t* seen_by;  // [rows]
    int32_t* indices;  // [most_indices]
  };

  // f(batch) for all batches of `rows` rows; keys of zeros are named as the row zero_row. Every pair of a
  // head and a row is a query of one group. Allocates nothing.
  void for_batches(size_t rows, int32_t zero_row, const Scratch& scratch,
                   FunctionRef<void(const DilatedBatch&)> f) const;

 private:
  // Numbers in the lists of a batch of more than one group, at most: what launching costs is then little.
  static constexpr size_t kBatchIndices = 1 << 16;

  struct Heads {
    size_t first, count;
  };
  size_t segment(size_t i, size_t rows) const;
  // Rows that one segment names, those of zeros as well.
  size_t keys(size_t i, size_t rows) const;
  void mark(size_t head, size_t rows, uint8_t* seen_by) const;
  void list_keys(size_t head, uint32_t dilations, size_t row, size_t rows, int32_t zero_row,
                 int32_t* key_rows) const;

  const DilatedAttention& mixer_;
  std::vector<Heads> heads_;  // with the same residues
};

}  // namespace lsrt
