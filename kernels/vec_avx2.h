// AVX2 helpers for float rows, one private copy a file. min and max return their second operand where
// one is NaN: accumulators go second.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/gemm.h"

namespace lsrt {
namespace avx2 {
namespace {

inline bool is_normal(float positive) { return positive >= 0x1p-126f && positive <= 0x1.fffffep+127f; }

inline __m256i tail_mask(size_t n) {  // the first n of 8 lanes, n <= 8
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// Eight elements of a row: all inside it, or only the first n.
struct Whole {
  __m256 load(const float* p) const { return _mm256_loadu_ps(p); }
  void store(float* p, __m256 v) const { _mm256_storeu_ps(p, v); }
  __m256 keep(__m256 v) const { return v; }
};

struct Part {
  __m256i mask;
  explicit Part(size_t n) : mask(tail_mask(n < 8 ? n : 8)) {}
  __m256 load(const float* p) const { return _mm256_maskload_ps(p, mask); }
  void store(float* p, __m256 v) const { _mm256_maskstore_ps(p, mask, v); }
  __m256 keep(__m256 v) const { return _mm256_and_ps(v, _mm256_castsi256_ps(mask)); }
};

// For columns.h.
struct Vector {
  using Register = __m256;
  using Whole = avx2::Whole;
  using Part = avx2::Part;
  static constexpr size_t kWidth = 8;
  static Register set(float x) { return _mm256_set1_ps(x); }
  static Register add(Register a, Register b) { return _mm256_add_ps(a, b); }
  static Register sub(Register a, Register b) { return _mm256_sub_ps(a, b); }
  static Register max(Register a, Register b) { return _mm256_max_ps(a, b); }
  static Register multiply_add(Register a, Register b, Register sum) { return _mm256_fmadd_ps(a, b, sum); }
};

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

inline float clamp(float v, float lo, float hi) {
  v = v > lo ? v : lo;
  return v < hi ? v : hi;
}

// The quantization of gemm.h.
inline RowScale row_scale_of(const float* x, size_t depth) {
  __m256 lo[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  __m256 hi[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  size_t k = 0;
  for (; k + 16 <= depth; k += 16) {
    for (int j = 0; j < 2; ++j) {
      const __m256 v = _mm256_loadu_ps(x + k + 8 * j);
      lo[j] = _mm256_min_ps(v, lo[j]);
      hi[j] = _mm256_max_ps(v, hi[j]);
    }
  }
  for (; k < depth; k += 8) {
    const __m256 v =
        depth - k >= 8 ? _mm256_loadu_ps(x + k) : _mm256_maskload_ps(x + k, tail_mask(depth - k));
    lo[0] = _mm256_min_ps(v, lo[0]);
    hi[0] = _mm256_max_ps(v, hi[0]);
  }
  const float low = fold_min(_mm256_min_ps(lo[0], lo[1]));
  const float high = fold_max(_mm256_max_ps(hi[0], hi[1]));
  float scale = (high - low) / 255.0f;
  if (!is_normal(scale)) scale = 1.0f;
  return {scale, (int32_t)__builtin_rintf(clamp(-128.0f - low / scale, -128.0f, 127.0f))};
}

// q - zero_point of 8 values; lowest = -128 - zero_point, highest = 127 - zero_point: clamping to these
// integers before rounding gives the same q and keeps the conversion in range.
inline __m256i quantize8(__m256 v, __m256 inverse, __m256 lowest, __m256 highest) {
  v = _mm256_max_ps(_mm256_mul_ps(v, inverse), lowest);
  return _mm256_cvtps_epi32(_mm256_min_ps(v, highest));
}

}  // namespace
}  // namespace avx2
}  // namespace lsrt
