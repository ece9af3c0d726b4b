// The micro-kernel shared by matrix products and weighted sums of AVX2, and weighted sums of AVX-VNNI: int16
// rows times int8 panels (gemm.h). Exact. Everything is in an anonymous namespace: each file gets its own
// copy, and none is visible to the linker.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

namespace lsrt {
namespace avx2 {
namespace {

constexpr size_t kTileRows = 6;
constexpr size_t kPrefetchBytes = 8192;

// sum += products of words, two a lane. Spelled out because gcc would interleave the rows of a tile, run out
// of registers, and spill or copy them.
inline __attribute__((always_inline)) void add_products(__m256i& sum, __m256i a, __m256i b) {
#ifdef LSRT_VNNI256
  avxvnni::add_dot_words(sum, a, b);
#else
  __asm__ volatile("vpaddd %1, %0, %0" : "+x"(sum) : "x"(_mm256_madd_epi16(a, b)));
#endif
}

// One group of depth: the sums of two products of 4 outputs with one row each, put or added to acc[row].
template <size_t kRows, size_t kHalves, bool kFirst>
inline __attribute__((always_inline)) void add_group(const int16_t* a, size_t lda, const int8_t* w,
                                                     __m256i (&acc)[kRows][2 * kHalves]) {
#pragma GCC unroll 2
  for (size_t h = 0; h < kHalves; ++h) {
    const __m256i w0 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)(w + 32 * h)));
    const __m256i w1 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)(w + 32 * h + 16)));
#pragma GCC unroll 6
    for (size_t r = 0; r < kRows; ++r) {
      const __m256i x = _mm256_broadcastq_epi64(_mm_loadl_epi64((const __m128i*)(a + r * lda)));
      if (kFirst) {
        acc[r][2 * h] = _mm256_madd_epi16(x, w0);
        acc[r][2 * h + 1] = _mm256_madd_epi16(x, w1);
      } else {
        add_products(acc[r][2 * h], x, w0);
        add_products(acc[r][2 * h + 1], x, w1);
      }
    }
  }
}

// sums[r][half] = the 8 sums of row a + r * lda with outputs 8 * half .. 8 * half + 7 of one panel, over
// `groups` groups of 4 depth, at least one, group_bytes apart. kHalves = 1: only the half that w points to.
// The 16 registers allow 6 x 1 tiles: 12 accumulators (4 outputs of 2 half sums each), 2 widened weights, one
// broadcast activation, one product. About 7.4 cycles a group on Zen 3, where multiplies and additions are
// the limit and widening is free.
//
// Callers write the cases of kRows out: where a template made them from a lambda, gcc kept the sums in
// memory, at half the speed.
template <size_t kRows, size_t kHalves>
inline __attribute__((always_inline)) void tile(const int16_t* a, size_t lda, const int8_t* w, size_t groups,
                                                size_t group_bytes, __m256i (&sums)[kRows][kHalves]) {
  __m256i acc[kRows][2 * kHalves];
  add_group<kRows, kHalves, true>(a, lda, w, acc);
  for (size_t g = 1; g < groups; ++g) {
    w += group_bytes;
    // With few rows the weights arrive from memory: fetch them further ahead than the CPU does by itself.
    if constexpr (kHalves == 2) _mm_prefetch((const char*)(w + kPrefetchBytes), _MM_HINT_T0);
    add_group<kRows, kHalves, false>(a + 4 * g, lda, w, acc);
  }
#pragma GCC unroll 6
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (size_t h = 0; h < kHalves; ++h) {
      const __m256 low = _mm256_castsi256_ps(acc[r][2 * h]), high = _mm256_castsi256_ps(acc[r][2 * h + 1]);
      const __m256i even = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0x88));
      const __m256i odd = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0xdd));
      // The outputs are in the order 0 1 4 5 2 3 6 7.
      sums[r][h] = _mm256_permute4x64_epi64(_mm256_add_epi32(even, odd), 0xd8);
    }
  }
}

}  // namespace
}  // namespace avx2
}  // namespace lsrt
