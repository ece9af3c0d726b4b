// AVX2 helpers for float rows, one private copy a file. min and max return their second operand where
// one is NaN: accumulators go second.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/gemm/gemm.h"

namespace lsrt {
namespace avx2 {
namespace {

inline bool is_normal(float positive) { return positive >= 0x1p-126f && positive <= 0x1.fffffep+127f; }

inline __m256i tail_mask(size_t n) {  // the first n of 8 lanes, n <= 8
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// The first n of 8 lanes, n <= 8, in halves: masked stores are slow.
inline void store_first(float* p, __m256 v, size_t n) {
  if (n == 8) return _mm256_storeu_ps(p, v);
  __m128 part = _mm256_castps256_ps128(v);
  if (n & 4) {
    _mm_storeu_ps(p, part);
    part = _mm256_extractf128_ps(v, 1);
    p += 4;
  }
  if (n & 2) {
    _mm_storel_pi((__m64*)p, part);
    part = _mm_movehl_ps(part, part);
    p += 2;
  }
  if (n & 1) _mm_store_ss(p, part);
}

// Eight elements of a row: all inside it, or only the first n.
struct Whole {
  __m256 load(const float* p) const { return _mm256_loadu_ps(p); }
  void store(float* p, __m256 v) const { _mm256_storeu_ps(p, v); }
  __m256 keep(__m256 v) const { return v; }
};

struct Part {
  size_t count;
  __m256i mask;
  explicit Part(size_t n) : count(n < 8 ? n : 8), mask(tail_mask(count)) {}
  __m256 load(const float* p) const { return _mm256_maskload_ps(p, mask); }
  void store(float* p, __m256 v) const { store_first(p, v, count); }
  __m256 keep(__m256 v) const { return _mm256_and_ps(v, _mm256_castsi256_ps(mask)); }
};

// For rows_simd.h and weighted_rows.h.
struct Vector {
  using Floats = __m256;
  using Ints = __m256i;
  using Whole = avx2::Whole;
  using Part = avx2::Part;
  static constexpr size_t kWidth = 8;

  static Floats set(float x) { return _mm256_set1_ps(x); }
  static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  static Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
  static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats div(Floats a, Floats b) { return _mm256_div_ps(a, b); }
  static Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }
  static Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static Floats abs(Floats v) { return _mm256_and_ps(v, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff))); }
  static Floats keep_at_least(Floats v, Floats x, Floats bound) {
    return _mm256_and_ps(v, _mm256_cmp_ps(x, bound, _CMP_GE_OQ));
  }
  static Floats power_of_two(Floats v) {
    const Ints bits = _mm256_add_epi32(_mm256_castps_si256(v), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23));
  }
  static Floats add_to_exponent(Floats v, Floats n) {
    const Ints power = _mm256_slli_epi32(_mm256_castps_si256(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(v), power));
  }
  static Ints round(Floats v) { return _mm256_cvtps_epi32(v); }
  static Ints add_int(Ints a, Ints b) { return _mm256_add_epi32(a, b); }

  static float fold_sum(Floats v) {
    __m128 m = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_add_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_add_ss(m, _mm_movehdup_ps(m)));
  }
  static int32_t fold_sum_int(Ints v) {
    __m128i m = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_add_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
  }
  static float fold_min(Floats v) {
    __m128 m = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_min_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_min_ss(m, _mm_movehdup_ps(m)));
  }
  static float fold_max(Floats v) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
  }

  static void store_words(uint16_t* to, const Ints (&v)[2]) {
    _mm256_storeu_si256((__m256i*)to, _mm256_permute4x64_epi64(_mm256_packus_epi32(v[0], v[1]), 0xd8));
  }
  static void store_bytes(int8_t* to, const Ints (&v)[2]) {
    const __m256i words = _mm256_packs_epi32(v[0], v[1]);  // 0-3 8-11 4-7 12-15
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i*)to, _mm_shuffle_epi32(bytes, 0xd8));
  }
};

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
  const float low = Vector::fold_min(_mm256_min_ps(lo[0], lo[1]));
  const float high = Vector::fold_max(_mm256_max_ps(hi[0], hi[1]));
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
