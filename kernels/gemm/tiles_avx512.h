// Tiles of registers for AVX-512 VNNI: a register holds the 16 outputs of a panel.
#pragma once

#include "kernels/gemm/product_vnni.h"
#include "kernels/simd/avx512.h"
#include "kernels/simd/vec_avx512.h"

namespace lsrt {
namespace avx512vnni {
namespace {

struct Tiles : Vector {
  static constexpr size_t kPrefetchBytes = 0, kTilePrefetchBytes = 512;
  // Of 32 registers up to 24 are sums: the latency of vpdpbusd times two a cycle asks for that many.
  static constexpr size_t kMostPanels = 4;
  static constexpr size_t tile_panels(size_t) { return kMostPanels; }
  static constexpr size_t tile_rows(size_t panels) { return panels == 4 ? 6 : panels == 3 ? 8 : 12; }

  static Ints load_int(const int32_t* p) { return _mm512_loadu_si512(p); }
  static Ints set_int(int32_t x) { return _mm512_set1_epi32(x); }
  static Ints mul_int(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }
  static void add_dot(Ints& sum, Ints bytes, Ints weights) { add_dot_bytes(sum, bytes, weights); }
  static Floats to_float(Ints v) { return _mm512_cvtepi32_ps(v); }

  static Floats load(const float* p) { return _mm512_loadu_ps(p); }
  static Floats load_first(const float* p, size_t n) {  // zeros behind
    return n < kWidth ? _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p) : load(p);
  }
  static void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }

  // The low bytes of four registers, in order; all are 0 .. 255.
  static void store_unsigned(uint8_t* to, const Ints (&v)[4]) {
    const __m512i words0 = _mm512_packs_epi32(v[0], v[1]), words1 = _mm512_packs_epi32(v[2], v[3]);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(to, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(words0, words1)));
  }
};

}  // namespace
}  // namespace avx512vnni
}  // namespace lsrt
