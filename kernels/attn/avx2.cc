// Weighted sums for AVX2.
#include "kernels/attn/weighted_sum_avx2.h"
#include "kernels/isa_sets.h"
#include "kernels/simd/vec_avx2.h"
#include "kernels/simd/weighted_rows.h"

namespace lsrt {
namespace avx2 {

void provide(AttentionKernels& k) {
  k.weighted_sum = weighted_sum;
  k.weighted_rows = weighted_rows_of<Vector>;
}

}  // namespace avx2
}  // namespace lsrt
