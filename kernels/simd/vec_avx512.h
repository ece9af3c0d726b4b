// 512-bit registers of floats for rows_simd.h and weighted_rows.h: one holds all lanes of rows.h. One private
// copy a file. Include simd/avx512.h first.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/simd/vec_avx2.h"

namespace lsrt {
namespace avx512vnni {
namespace {

struct Vector {
  using Floats = __m512;
  using Ints = __m512i;
  static constexpr size_t kWidth = 16;

  struct Whole {
    Floats load(const float* p) const { return _mm512_loadu_ps(p); }
    void store(float* p, Floats v) const { _mm512_storeu_ps(p, v); }
    Floats keep(Floats v) const { return v; }
  };
  struct Part {
    __mmask16 mask;
    explicit Part(size_t n) : mask((__mmask16)(n < kWidth ? (1u << n) - 1 : 0xffffu)) {}
    Floats load(const float* p) const { return _mm512_maskz_loadu_ps(mask, p); }
    void store(float* p, Floats v) const { _mm512_mask_storeu_ps(p, mask, v); }
    Floats keep(Floats v) const { return _mm512_maskz_mov_ps(mask, v); }
  };

  static Floats set(float x) { return _mm512_set1_ps(x); }
  static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
  static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
  static Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
  static Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static Floats abs(Floats v) { return _mm512_abs_ps(v); }
  static Floats keep_at_least(Floats v, Floats x, Floats bound) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, bound, _CMP_GE_OQ), v);
  }
  static Floats power_of_two(Floats v) {
    const Ints bits = _mm512_add_epi32(_mm512_castps_si512(v), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 23));
  }
  static Floats add_to_exponent(Floats v, Floats n) {
    const Ints power = _mm512_slli_epi32(_mm512_castps_si512(n), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(v), power));
  }
  static Ints round(Floats v) { return _mm512_cvtps_epi32(v); }
  static Ints add_int(Ints a, Ints b) { return _mm512_add_epi32(a, b); }

  static __m256 low(Floats v) { return _mm512_castps512_ps256(v); }
  static __m256 high(Floats v) { return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1)); }
  static float fold_sum(Floats v) { return avx2::Vector::fold_sum(_mm256_add_ps(low(v), high(v))); }
  static int32_t fold_sum_int(Ints v) {
    return avx2::Vector::fold_sum_int(
        _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1)));
  }
  static float fold_min(Floats v) { return avx2::Vector::fold_min(_mm256_min_ps(low(v), high(v))); }
  static float fold_max(Floats v) { return avx2::Vector::fold_max(_mm256_max_ps(low(v), high(v))); }

  static void store_words(uint16_t* to, const Ints (&v)[1]) {
    _mm256_storeu_si256((__m256i*)to, _mm512_cvtsepi32_epi16(v[0]));
  }
  static void store_bytes(int8_t* to, const Ints (&v)[1]) {
    _mm_storeu_si128((__m128i*)to, _mm512_cvtsepi32_epi8(v[0]));
  }
};

}  // namespace
}  // namespace avx512vnni
}  // namespace lsrt
