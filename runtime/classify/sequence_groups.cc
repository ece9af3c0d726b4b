#include "runtime/classify/sequence_groups.h"

#include <algorithm>

namespace lsrt {
namespace {

// Queries of a group where they see no neighbours: any number is right, this one keeps a group's scores in
// the cache.
constexpr size_t kLandmarkQueries = 64;

}  // namespace

void PackedRows::pack(const int32_t* mask, size_t length) {
  positions = rows = 0;
  for (size_t i = 0; i < length; ++i) {
    const bool real = mask == nullptr || mask[i] != 0;
    row_at[i] = real ? static_cast<int32_t>(rows) : -1;
    if (!real) continue;
    position_of[rows++] = static_cast<int32_t>(i);
    positions = i + 1;
  }
}

// Without a window a query sees the landmarks only or, where there are none, its own key.
SequenceGroups::SequenceGroups(const EncoderLongShort& mixer)
    : queries(mixer.window ? mixer.window
              : mixer.rank ? kLandmarkQueries
                           : 1),
      reach(mixer.window ? std::max(mixer.window / 2, 1u) : 0),
      keys(mixer.window || !mixer.rank) {}

size_t SequenceGroups::first_row(size_t group) const {
  const int32_t* query = query_rows + group * queries;
  while (*query < 0) ++query;  // every group has a token
  return *query;
}

void SequenceGroups::build(const PackedRows& document) {
  const auto n = static_cast<int64_t>(document.positions);
  auto row_at = [&](int64_t position) {
    return position >= 0 && position < n ? document.row_at[position] : -1;
  };
  count = 0;
  for (int64_t first = 0; first < n; first += queries) {
    int32_t* query = query_rows + count * queries;
    bool any = false;
    for (size_t i = 0; i < queries; ++i) {
      query[i] = row_at(first + i);
      any = any || query[i] >= 0;
    }
    if (!any) continue;
    int32_t* key = key_rows + count * group_keys();
    for (size_t i = 0; i < group_keys(); ++i) key[i] = row_at(first - static_cast<int64_t>(reach) + i);
    ++count;
  }
}

}  // namespace lsrt
