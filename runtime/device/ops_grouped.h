// Bidirectional attention (spec sections 2 and 3).
#pragma once

#include "runtime/device/dev.h"
#include "runtime/device/stream.h"

namespace lsrt {

// Final (normed) keys and values as attention reads them; head a owns columns [a * head_dim, (a + 1) *
// head_dim).
struct KeyValueStore {
  size_t heads, head_dim, rows;
  bool int8;         // rounded to int8 per (row, head), else float32
  Dev<void> memory;  // key_value_bytes()

  size_t width() const { return heads * head_dim; }
};

// Rows are cut into groups; the queries of a group see the group's keys and the global keys, in one softmax.
// Windows of a sequence, windows of an image and full attention (one group) are all of this kind. Queries are
// scaled.
struct GroupedAttention {
  KeyValueStore store;
  size_t first_head, some_heads;  // that attend; none: all of the store
  Dev<const float> query;         // rows, query_stride floats apart
  size_t query_stride;
  size_t global_first, globals;  // rows of the store that every query sees
  size_t groups, group_queries, group_keys;
  Dev<const int32_t> query_rows;  // [groups, group_queries], of query and out; -1: none
  Dev<const int32_t> key_rows;    // [groups, group_keys], of the store; -1: masked
  // Added to the scores, unless null. Neighbouring keys often have neighbouring biases: a group's keys are
  // cut into runs of bias_run (the last may be shorter), and each (query, run) names a place in the head's
  // table.
  Dev<const float> bias;            // [heads], bias_stride floats apart
  Dev<const int32_t> bias_offsets;  // [group_queries, ceil(group_keys / bias_run)]
  size_t bias_stride, bias_run;
  Dev<float> out;  // rows, out_stride apart; rows of no group are not written. May be query.
  size_t out_stride;

  size_t heads() const { return some_heads ? some_heads : store.heads; }
};

// Landmark rows: p = softmax over rows of score[., a * rank + j]; out[j][slice of head a] = sum_t p[t] *
// x_t[slice], for x = key and value. Launch after launch takes in more rows of a sequence; out is complete
// for those so far.
struct Landmarks {
  static constexpr size_t kRowBlock =
      64;  // a launch takes in a multiple of this, unless it is the sequence's last

  size_t heads, head_dim, rank, rows;
  Dev<const float> score, key, value;  // rows, `stride` floats apart
  size_t stride;
  bool first;                     // these are the sequence's first rows
  Dev<float> running;             // [2, heads * rank]: largest score, sum of exp(score - largest)
  Dev<float> out_key, out_value;  // [rank, width]

  size_t running_floats() const { return 2 * heads * rank; }
};

// The cls row attends to the outputs of all others: p = softmax([q.k, q.x_t ...]) per head; out = p_0 v +
// sum_t p_t x_t.
struct ClsAttention {
  size_t heads, head_dim, rows;
  Dev<const float> query, key, value;  // [width] of the cls row
  Dev<const float> x;                  // rows, `stride` floats apart
  size_t stride;
  Dev<float> out;  // [width]
};

// A depthwise convolution along positions, added to the outputs of some rows: with t = position_of[r],
// out[r][slice of head a] += sum_s weight[a][s] * value[row_at[t + s - kernel / 2]][slice], where positions
// outside the document or without a row count as zero.
struct Convolution {
  size_t heads, head_dim, kernel;
  Dev<const float> weight;         // [heads, kernel]
  Dev<const float> value;          // all rows, [width] each
  Dev<const int32_t> row_at;       // [positions]; -1: none
  Dev<const int32_t> position_of;  // all rows
  size_t positions;
  size_t first, rows;  // outputs that are computed
  Dev<float> out;      // all rows, [width] each
};

// plan() looks at extents only; that of one group, and of several, is enough for fewer rows and keys, too.
class GroupedOps {
 public:
  virtual ~GroupedOps() = default;

  virtual size_t key_value_bytes(const KeyValueStore& shape) const = 0;
  // Rows first .. first + rows - 1 of the store, from key and value rows `stride` floats apart.
  virtual void store_key_values(Stream& stream, const KeyValueStore& store, size_t first, size_t rows,
                                Dev<const float> key, Dev<const float> value, size_t stride) const = 0;

  virtual void plan(const GroupedAttention& shape, StreamPlan* plan) const = 0;
  virtual void attend(Stream& stream, const GroupedAttention& attention) const = 0;

  virtual void plan(const Landmarks& shape, StreamPlan* plan) const = 0;
  virtual void landmarks(Stream& stream, const Landmarks& landmarks) const = 0;  // rank is not 0

  virtual void plan(const ClsAttention& shape, StreamPlan* plan) const = 0;
  virtual void attend(Stream& stream, const ClsAttention& attention) const = 0;

  virtual void convolve(Stream& stream, const Convolution& convolution) const = 0;
};

}  // namespace lsrt
