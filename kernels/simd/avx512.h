// Intrinsics of AVX-512 and AVX-VNNI, or SIMDe's emulation of them so that these kernels can be tested on
// machines that lack them. Include it first: the emulation must see <immintrin.h> before others do. AVX-VNNI
// files say _mm256_dpbusd_epi32, not _mm256_dpbusd_avx_epi32: the flags decide how it is encoded (VEX;
// AVX-512's EVEX in a build with LSRT_AVXVNNI_EVEX), and the emulation knows it, too.
#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // false alarms in the headers of gcc 12
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#ifdef LSRT_SIMDE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include "kernels/simd/simde_additions.h"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

// sum += products of unsigned bytes with signed ones, four a lane; of words, two a lane. Spelled out because
// gcc copies the sums of a tile from register to register otherwise, which halves its speed.
#ifdef LSRT_SIMDE
#define LSRT_DOT(instruction, register, function) sum = function(sum, a, b)
#else
#define LSRT_DOT(instruction, register, function) \
  __asm__(instruction " %2, %1, %0" : "+" register(sum) : register(a), register(b))
#endif
#ifdef __AVXVNNI__
#define LSRT_VEX "%{vex%} "
#else
#define LSRT_VEX  // the encoding of AVX-512
#endif

namespace lsrt {
#if defined(__AVX512F__) || defined(LSRT_SIMDE)
namespace avx512vnni {
namespace {

inline __attribute__((always_inline)) void add_dot_bytes(__m512i& sum, __m512i a, __m512i b) {
  LSRT_DOT("vpdpbusd", "v", _mm512_dpbusd_epi32);
}
inline __attribute__((always_inline)) void add_dot_words(__m512i& sum, __m512i a, __m512i b) {
  LSRT_DOT("vpdpwssd", "v", _mm512_dpwssd_epi32);
}

}  // namespace
}  // namespace avx512vnni
#endif

namespace avxvnni {
namespace {

inline __attribute__((always_inline)) void add_dot_bytes(__m256i& sum, __m256i a, __m256i b) {
  LSRT_DOT(LSRT_VEX "vpdpbusd", "x", _mm256_dpbusd_epi32);
}
inline __attribute__((always_inline)) void add_dot_words(__m256i& sum, __m256i a, __m256i b) {
  LSRT_DOT(LSRT_VEX "vpdpwssd", "x", _mm256_dpwssd_epi32);
}

}  // namespace
}  // namespace avxvnni
}  // namespace lsrt

#undef LSRT_DOT
#undef LSRT_VEX
