// Weighted sums for AVX-VNNI: those of AVX2 with vpdpwssd.
#include "kernels/simd/avx512.h"
#define LSRT_VNNI256
#include "kernels/attn/weighted_sum_avx2.h"
#include "kernels/isa_sets.h"

namespace lsrt {
namespace avxvnni {

void provide(AttentionKernels& k) { k.weighted_sum = avx2::weighted_sum; }

}  // namespace avxvnni
}  // namespace lsrt
