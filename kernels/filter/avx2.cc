#include <immintrin.h>

#include "kernels/isa_sets.h"
#include "kernels/simd/filter_simd.h"
#include "kernels/simd/vec_avx2.h"

namespace lsrt {
namespace avx2 {

void provide(FilterKernels& k) { provide_filter<Vector>(k); }

}  // namespace avx2
}  // namespace lsrt
