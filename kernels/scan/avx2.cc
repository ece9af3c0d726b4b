#include <immintrin.h>

#include "kernels/isa_sets.h"
#include "kernels/simd/scan_simd.h"
#include "kernels/simd/vec_avx2.h"

namespace lsrt {
namespace avx2 {

void provide(ScanKernels& k) { provide_scan<Vector>(k); }

}  // namespace avx2
}  // namespace lsrt
