// Weighted sums for AVX-512 VNNI.
#include "kernels/attn/weighted_sum_avx512.h"
#include "kernels/isa_sets.h"
#include "kernels/simd/weighted_rows.h"

namespace lsrt {
namespace avx512vnni {

void provide(AttentionKernels& k) {
  k.weighted_sum = weighted_sum;
  k.weighted_rows = weighted_rows_of<Vector>;
}

}  // namespace avx512vnni
}  // namespace lsrt
