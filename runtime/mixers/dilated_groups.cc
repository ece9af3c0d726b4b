#include "runtime/mixers/dilated_groups.h"

#include <algorithm>
#include <cstring>

namespace lsrt {

DilatedGroups::DilatedGroups(const DilatedAttention& mixer) : mixer_(mixer) {
  const auto same = [&](size_t a, size_t b) {
    bool same = true;
    for (size_t i = 0; i < mixer.dilation_count; ++i) same &= mixer.residue(a, i) == mixer.residue(b, i);
    return same;
  };
  for (size_t head = 0; head < mixer.heads; ++head) {
    if (head == 0 || !same(head - 1, head)) heads_.push_back({head, 0});
    ++heads_.back().count;
  }
}

size_t DilatedGroups::segment(size_t i, size_t rows) const {
  return std::min<size_t>(mixer_.dilations[i].segment, rows);
}

size_t DilatedGroups::keys(size_t i, size_t rows) const {
  const size_t ratio = mixer_.dilations[i].ratio;
  return (segment(i, rows) + ratio - 1) / ratio;
}

size_t DilatedGroups::most_heads() const {
  size_t most = 0;
  for (const Heads& heads : heads_) most = std::max(most, heads.count);
  return most;
}

// Every row sees by the dilations of ratio 1, and lies in one segment of each.
size_t DilatedGroups::most_queries(size_t rows) const {
  size_t most = rows;
  for (size_t i = 0; i < mixer_.dilation_count; ++i) {
    if (mixer_.dilations[i].ratio == 1) most = std::min(most, segment(i, rows));
  }
  return most;
}

size_t DilatedGroups::most_keys(size_t rows) const {
  size_t all = 0;
  for (size_t i = 0; i < mixer_.dilation_count; ++i) all += keys(i, rows);
  return all;
}

size_t DilatedGroups::most_indices(size_t rows) const {
  return std::max(kBatchIndices, most_queries(rows) + most_keys(rows));
}

// seen_by[row]: a bit for each dilation by which the row sees.
void DilatedGroups::mark(size_t head, size_t rows, uint8_t* seen_by) const {
  std::memset(seen_by, 0, rows);
  for (size_t i = 0; i < mixer_.dilation_count; ++i) {
    const size_t length = segment(i, rows), residue = mixer_.residue(head, i);
    for (size_t first = 0; first < rows; first += length) {
      const size_t end = std::min(first + length, rows);
      for (size_t row = first + residue; row < end; row += mixer_.dilations[i].ratio) {
        seen_by[row] = static_cast<uint8_t>(seen_by[row] | 1u << i);
      }
    }
  }
}

void DilatedGroups::list_keys(size_t head, uint32_t dilations, size_t row, size_t rows, int32_t zero_row,
                              int32_t* key_rows) const {
  for (size_t i = 0; i < mixer_.dilation_count; ++i) {
    if (!(dilations >> i & 1)) continue;
    const size_t length = segment(i, rows), first = row / length * length;
    const size_t end = std::min(first + length, rows);
    size_t key = first + mixer_.residue(head, i);
    for (size_t n = keys(i, rows); n > 0; --n, key += mixer_.dilations[i].ratio) {
      *key_rows++ = key < end ? static_cast<int32_t>(key) : zero_row;
    }
  }
}

void DilatedGroups::for_batches(size_t rows, int32_t zero_row, const Scratch& scratch,
                                FunctionRef<void(const DilatedBatch&)> f) const {
  for (const Heads& heads : heads_) {
    mark(heads.first, rows, scratch.seen_by);
    bool there[1 << kMaxDilations] = {};
    for (size_t row = 0; row < rows; ++row) there[scratch.seen_by[row]] = true;
    for (uint32_t dilations = 1; dilations < 1u << kMaxDilations; ++dilations) {
      if (!there[dilations]) continue;
      DilatedBatch batch{heads.first, heads.count, 0, rows, 0, scratch.indices, nullptr};
      for (size_t i = 0; i < mixer_.dilation_count; ++i) {
        if (!(dilations >> i & 1)) continue;
        batch.group_queries = std::min(batch.group_queries, keys(i, rows));
        batch.group_keys += keys(i, rows);
      }
      const size_t most = std::max<size_t>(1, kBatchIndices / (batch.group_queries + batch.group_keys));
      int32_t* key_rows = scratch.indices + most * batch.group_queries;
      batch.key_rows = key_rows;
      for (size_t first = 0, end; first < rows; first = end) {
        end = rows;
        for (size_t i = 0; i < mixer_.dilation_count; ++i) {
          const size_t length = segment(i, rows);
          if (dilations >> i & 1) end = std::min(end, first / length * length + length);
        }
        int32_t* query = scratch.indices + batch.groups * batch.group_queries;
        int32_t* const queries_end = query + batch.group_queries;
        bool any = false;
        for (size_t row = first; row < end; ++row) {
          if (scratch.seen_by[row] != dilations) continue;
          *query++ = static_cast<int32_t>(row);
          any = true;
        }
        if (!any) continue;
        std::fill(query, queries_end, -1);
        list_keys(heads.first, dilations, first, rows, zero_row, key_rows + batch.groups * batch.group_keys);
        if (++batch.groups == most) f(batch), batch.groups = 0;
      }
      if (batch.groups > 0) f(batch);
    }
  }
}

}  // namespace lsrt
