#include <arm_neon.h>

#include "kernels/isa_sets.h"
#include "kernels/simd/scan_simd.h"
#include "kernels/simd/vec_neondot.h"

namespace lsrt {
namespace neondot {

void provide(ScanKernels& k) { provide_scan<Vector>(k); }

}  // namespace neondot
}  // namespace lsrt
