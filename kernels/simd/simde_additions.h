// Emulated AVX-512 functions that SIMDe 0.7 lacks, for the test build with LSRT_SIMDE.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <string.h>

namespace lsrt {
namespace {

// Applies f to both halves of v.
template <typename To, typename Half, typename From, typename F>
inline To emulate_halves(From v, F f) {
  Half half[2];
  memcpy(half, &v, sizeof half);
  const auto low = f(half[0]), high = f(half[1]);
  To result;
  memcpy(&result, &low, sizeof low);
  memcpy((char*)&result + sizeof low, &high, sizeof high);
  return result;
}

inline simde__m512 emulate_cvtepi32_ps(simde__m512i v) {
  return emulate_halves<simde__m512, __m256i>(v, [](__m256i half) { return _mm256_cvtepi32_ps(half); });
}

inline simde__m512i emulate_cvtps_epi32(simde__m512 v) {
  return emulate_halves<simde__m512i, __m256>(v, [](__m256 half) { return _mm256_cvtps_epi32(half); });
}

inline simde__m512 emulate_maskz_loadu_ps(unsigned mask, const float* from) {
  float buffer[16] = {};
  for (size_t i = 0; i < 16; ++i) {
    if (mask >> i & 1) buffer[i] = from[i];
  }
  return simde_mm512_loadu_ps(buffer);
}

inline void emulate_mask_storeu_ps(float* to, unsigned mask, simde__m512 v) {
  float buffer[16];
  memcpy(buffer, &v, sizeof buffer);
  for (size_t i = 0; i < 16; ++i) {
    if (mask >> i & 1) to[i] = buffer[i];
  }
}

inline float emulate_reduce_min_ps(simde__m512 v) {  // no lane is NaN
  float lane[16];
  memcpy(lane, &v, sizeof lane);
  for (size_t i = 1; i < 16; ++i) lane[0] = lane[i] < lane[0] ? lane[i] : lane[0];
  return lane[0];
}

inline float emulate_reduce_max_ps(simde__m512 v) {
  float lane[16];
  memcpy(lane, &v, sizeof lane);
  for (size_t i = 1; i < 16; ++i) lane[0] = lane[i] > lane[0] ? lane[i] : lane[0];
  return lane[0];
}

}  // namespace
}  // namespace lsrt

#define _mm512_cvtepi32_ps(v) lsrt::emulate_cvtepi32_ps(v)
#define _mm512_cvtps_epi32(v) lsrt::emulate_cvtps_epi32(v)
#define _mm512_maskz_loadu_ps(mask, from) lsrt::emulate_maskz_loadu_ps(mask, from)
#define _mm512_mask_storeu_ps(to, mask, v) lsrt::emulate_mask_storeu_ps(to, mask, v)
#define _mm512_reduce_min_ps(v) lsrt::emulate_reduce_min_ps(v)
#define _mm512_reduce_max_ps(v) lsrt::emulate_reduce_max_ps(v)
