#include <immintrin.h>

#include "kernels/isa_sets.h"
#include "kernels/simd/rows_simd.h"
#include "kernels/simd/vec_avx2.h"

namespace lsrt {
namespace avx2 {

void provide(RowKernels& k) { provide_rows<Vector>(k); }

}  // namespace avx2
}  // namespace lsrt
