// The keys that a tile of queries of causal attention may see, as runs of rows of caches.
#pragma once

#include "kernels/cuda/attend.h"
#include "kernels/cuda/causal_rows.h"

namespace lsrt {
namespace cuda {

// Keys have an index in a logical order: summaries 0 .. from the oldest visible one; window rows their
// position in the stream, negative in the endless past.
struct KeyRun {
  Cache cache;
  bool repeated;  // all columns are row 0 of the cache
  bool window;    // else summaries
  uint32_t row, column, columns;
  int64_t first, begin, end;  // index of the first column; indices that are there
};

struct CausalShared {
  AttendShared attend;
  KeyRun runs[7];  // zero, two of memory, block; zero, two of the window
  uint32_t count, columns;
};

class RunList {
 public:
  LSRT_DEVICE explicit RunList(CausalShared& s) : s_(s) { s_.count = 0, s_.columns = 0; }

  LSRT_DEVICE void repeated(const Cache& cache, bool window, int64_t begin, int64_t end) {
    if (begin >= end) return;
    const int64_t first = begin - (begin & 15);
    append(cache, true, window, 0, static_cast<uint32_t>(round_up(static_cast<uint64_t>(end - first), 16)),
           first, begin, end);
  }
  // Keys begin .. end - 1 of a ring, stored at position begin + shift and on.
  LSRT_DEVICE void ring(const Cache& cache, bool window, int64_t begin, int64_t end, int64_t shift) {
    while (begin < end) {
      const auto row = static_cast<uint32_t>((begin + shift) % cache.capacity), lane = row % 16;
      const int64_t left = end - begin, room = cache.capacity - row, n = left < room ? left : room;
      append(cache, false, window, row - lane,
             static_cast<uint32_t>(round_up(static_cast<uint64_t>(lane + n), 16)), begin - lane, begin,
             begin + n);
      begin += n;
    }
  }

 private:
  LSRT_DEVICE void append(const Cache& cache, bool repeated, bool window, uint32_t row, uint32_t columns,
                          int64_t first, int64_t begin, int64_t end) {
    s_.runs[s_.count++] = {cache, repeated, window, row, s_.columns, columns, first, begin, end};
    s_.columns += columns;
  }

  CausalShared& s_;
};

}  // namespace cuda
}  // namespace lsrt
