// int8 matrix product for AVX-VNNI: the 16 outputs of a panel take two registers.
#include "kernels/gemm/product_vnni.h"
#include "kernels/isa_sets.h"
#include "kernels/simd/avx512.h"
#include "kernels/simd/vec_avx2.h"

namespace lsrt {
namespace avxvnni {
namespace {

struct Tiles : avx2::Vector {
  static constexpr size_t kPrefetchBytes = 8192, kTilePrefetchBytes = 0;
  // Of 16 registers 12 are sums, two are weights and one is a row's bytes; few rows take more of the weights.
  static constexpr size_t kMostPanels = 2;
  static constexpr size_t tile_panels(size_t rows) { return rows <= 2 ? 2 : 1; }
  static constexpr size_t tile_rows(size_t panels) { return panels == 2 ? 2 : 6; }

  static Ints load_int(const int32_t* p) { return _mm256_loadu_si256((const __m256i*)p); }
  static Ints set_int(int32_t x) { return _mm256_set1_epi32(x); }
  static Ints mul_int(Ints a, Ints b) { return _mm256_mullo_epi32(a, b); }
  static void add_dot(Ints& sum, Ints bytes, Ints weights) { add_dot_bytes(sum, bytes, weights); }
  static Floats to_float(Ints v) { return _mm256_cvtepi32_ps(v); }

  static Floats load(const float* p) { return _mm256_loadu_ps(p); }
  static Floats load_first(const float* p, size_t n) {  // zeros behind
    return n < kWidth ? _mm256_maskload_ps(p, avx2::tail_mask(n)) : load(p);
  }
  static void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }

  // The low bytes of four registers, in order; all are 0 .. 255.
  static void store_unsigned(uint8_t* to, const Ints (&v)[4]) {
    const __m256i words0 = _mm256_packs_epi32(v[0], v[1]), words1 = _mm256_packs_epi32(v[2], v[3]);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256((__m256i*)to,
                        _mm256_permutevar8x32_epi32(_mm256_packus_epi16(words0, words1), order));
  }
};

}  // namespace

void provide(GemmKernels& k) {
  k.packed_row_bytes = packed_row_bytes;
  k.pack_rows = pack_rows<Tiles>;
  k.gemm = gemm<Tiles>;
}

}  // namespace avxvnni
}  // namespace lsrt
