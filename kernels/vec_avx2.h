// Small AVX2 helpers for float rows, one private copy a file. min and max return their second operand where
// one is NaN: accumulators go second.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

namespace lsrt {
namespace avx2 {
namespace {

inline bool is_normal(float positive) { return positive >= 0x1p-126f && positive <= 0x1.fffffep+127f; }

inline __m256i tail_mask(size_t n) {  // the first n of 8 lanes, n <= 8
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

inline float fold_min(__m256 v) {
  __m128 m = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_min_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_min_ss(m, _mm_movehdup_ps(m)));
}

inline float fold_max(__m256 v) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

// Lanes 0 .. 7 and 8 .. 15 folded in the order of rows.h.
inline float fold_sum(__m256 low, __m256 high) {
  const __m256 v = _mm256_add_ps(low, high);
  __m128 m = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_add_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_add_ss(m, _mm_movehdup_ps(m)));
}

}  // namespace
}  // namespace avx2
}  // namespace lsrt
