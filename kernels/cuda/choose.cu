// A token chosen from log-probabilities (runtime/device/ops_choose.h): the ids of runtime/text/sampler.cc.
// Candidates are not sorted: what is cut off the ranks, and the drawn one, is where a sum over the best ones
// first reaches a number, and that place is searched by halves. All sums are of integers, which have no
// order.
#include "base/token_weights.h"
#include "kernels/cuda/row_math.h"

namespace lsrt {
namespace cuda {

// Scores as integers in the same order; 0 is none, and no number's.
LSRT_DEVICE uint64_t key_of(double score) {
  if (score == 0) score = 0;  // of both signs
  uint64_t bits;
  memcpy(&bits, &score, sizeof bits);
  return bits >> 63 ? ~bits : bits | uint64_t{1} << 63;
}
LSRT_DEVICE double score_of(uint64_t key) {
  const uint64_t bits = key >> 63 ? key ^ uint64_t { 1 } << 63 : ~key;
  double score;
  memcpy(&score, &bits, sizeof score);
  return score;
}

// Of equal scores the lowest id is the best.
LSRT_DEVICE uint64_t tie_of(uint32_t id) { return UINT32_MAX - id; }
LSRT_DEVICE int32_t id_of(uint64_t tie) { return static_cast<int32_t>(UINT32_MAX - tie); }

struct Tally {
  uint64_t sum, least, most;
};
LSRT_DEVICE void add(const Tally& other, Tally* t) {
  t->sum += other.sum;
  t->least = other.least < t->least ? other.least : t->least;
  t->most = other.most > t->most ? other.most : t->most;
}
LSRT_DEVICE void note(uint64_t key, Tally* t) { add({0, key, key}, t); }

struct ChooseShared {
  uint64_t sum[kChooseThreads], least[kChooseThreads], most[kChooseThreads];
  Tally all;
};

LSRT_DEVICE uint64_t xor_lane(uint64_t x, uint32_t bits) {
  const uint32_t low = __shfl_xor_sync(kAllLanes, static_cast<uint32_t>(x), bits);
  const uint32_t high = __shfl_xor_sync(kAllLanes, static_cast<uint32_t>(x >> 32), bits);
  return uint64_t{high} << 32 | low;
}

// Joins what each thread has into s->all. All threads of the block come.
LSRT_DEVICE_CALLED void join(uint64_t sum, uint64_t least, uint64_t most, ChooseShared* s) {
  s->sum[threadIdx.x] = sum, s->least[threadIdx.x] = least, s->most[threadIdx.x] = most;
  __syncthreads();
  if (threadIdx.x < kWarp) {
    Tally own = {sum, least, most};
    for (uint32_t i = threadIdx.x + kWarp; i < blockDim.x; i += kWarp) {
      add({s->sum[i], s->least[i], s->most[i]}, &own);
    }
    for (uint32_t bits = kHalfWarp; bits > 0; bits /= 2) {
      add({xor_lane(own.sum, bits), xor_lane(own.least, bits), xor_lane(own.most, bits)}, &own);
    }
    if (threadIdx.x == 0) s->all = own;
  }
  __syncthreads();
}

// What all threads of the block have tallied with count(id, &tally), each over ids of its own: always the
// same ones.
template <typename Count>
LSRT_DEVICE Tally tally(uint32_t n, ChooseShared& s, const Count& count) {
  Tally own = {0, UINT64_MAX, 0};
  for (uint32_t id = threadIdx.x; id < n; id += blockDim.x) count(id, &own);
  join(own.sum, own.least, own.most, &s);
  return s.all;
}

// The key at which the sum of value(id), over those with in(id) and a key at least that, first reaches
// `target`, which the sum of all does. *above: what others have before them, and then that plus what is above
// the key.
template <typename In, typename Key, typename Value>
LSRT_DEVICE uint64_t key_reaching(uint64_t target, uint64_t* above, uint32_t n, ChooseShared& s, const In& in,
                                  const Key& key, const Value& value) {
  const Tally all = tally(n, s, [&](uint32_t id, Tally* t) {
    if (in(id)) note(key(id), t);
  });
  uint64_t low = all.least, high = all.most;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    // Of those above the middle: their sum, and the least; of the others the most.
    const Tally part = tally(n, s, [&](uint32_t id, Tally* t) {
      if (!in(id)) return;
      const uint64_t k = key(id);
      if (k < low || k > high) return;
      add(k > middle ? Tally{value(id), k, 0} : Tally{0, UINT64_MAX, k}, t);
    });
    if (*above + part.sum >= target) {
      low = part.least;
    } else {
      high = part.most, *above += part.sum;
    }
  }
  return low;
}

// The best candidates: keys above `key`, and of that key those with at least this tie.
struct Prefix {
  uint64_t key, tie;
};

LSRT_KERNEL(choose, ChooseParams, 1024) {
  static_assert(kChooseThreads == 1024, "of this kernel");
  LSRT_SHARED(ChooseShared, s);
  const uint32_t n = p.vocabulary;
  uint64_t* const keys = p.scratch;
  uint64_t* const weights = p.scratch + n;
  for (uint32_t id = threadIdx.x; id < n; id += blockDim.x) {
    const float x = p.logprobs[id];
    keys[id] = p.with_text[id] && fabsf(x) <= FLT_MAX ? key_of(x) : 0;
  }
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < p.penalized_count; i += blockDim.x) {
    uint64_t& key = keys[p.penalized[i]];
    if (key) key = key_of(score_of(key) * p.repeat_penalty);
  }
  __syncthreads();

  const Tally all = tally(n, s, [&](uint32_t id, Tally* t) {
    if (keys[id]) ++t->sum, note(keys[id], t);
  });
  if (all.sum == 0) {
    if (threadIdx.x == 0) *p.token = -1;
    return;
  }
  Prefix prefix = {1, 0};
  const auto in = [&](uint32_t id) {
    return keys[id] > prefix.key || (keys[id] == prefix.key && tie_of(id) >= prefix.tie);
  };
  const auto weight = [&](uint32_t id) { return weights[id]; };
  // The fewest best ones of the prefix with which the sum reaches `target`.
  const auto shorten = [&](uint64_t target, const auto& value) {
    uint64_t above = 0;
    const uint64_t key = key_reaching(
        target, &above, n, s, in, [&](uint32_t id) { return keys[id]; }, value);
    const uint64_t tie = key_reaching(
        target, &above, n, s, [&](uint32_t id) { return keys[id] == key && in(id); }, tie_of, value);
    prefix = {key, tie};
  };
  const auto total_weight = [&] {
    return tally(n, s,
                 [&](uint32_t id, Tally* t) {
                   if (in(id)) t->sum += weights[id];
                 })
        .sum;
  };

  // The best one of the prefix with is(id), or a key of 0.
  const auto best_with = [&](const auto& is) -> Prefix {
    const uint64_t key = tally(n, s, [&](uint32_t id, Tally* t) {
                           if (in(id) && is(id)) note(keys[id], t);
                         }).most;
    const uint64_t tie = tally(n, s, [&](uint32_t id, Tally* t) {
                           if (keys[id] == key && in(id) && is(id)) note(tie_of(id), t);
                         }).most;
    return {key, tie};
  };

  if (p.temperature == 0) {
    prefix = best_with([](uint32_t) { return true; });
  } else {
    const double best = score_of(all.most);
    for (uint32_t id = threadIdx.x; id < n; id += blockDim.x) {
      if (keys[id]) weights[id] = weight_of(exact_exp((score_of(keys[id]) - best) / p.temperature));
    }
    if (p.top_k && p.top_k < all.sum) shorten(p.top_k, [](uint32_t) { return uint64_t{1}; });
    if (p.top_p < 1) shorten(enough_weight(p.top_p, total_weight()), weight);
    if (p.min_p > 0) {
      const uint64_t least = least_weight(p.min_p);
      const Prefix first = best_with([&](uint32_t id) { return weights[id] < least; });
      if (first.key) prefix = {first.key, first.tie + 1};  // ends before it
    }
    shorten(drawn_weight(p.uniform, total_weight()) + 1, weight);
  }
  if (threadIdx.x == 0) *p.token = id_of(prefix.tie);
}

}  // namespace cuda
}  // namespace lsrt
