#include <arm_neon.h>

#include "kernels/isa_sets.h"
#include "kernels/simd/filter_simd.h"
#include "kernels/simd/vec_neondot.h"

namespace lsrt {
namespace neondot {

void provide(FilterKernels& k) { provide_filter<Vector>(k); }

}  // namespace neondot
}  // namespace lsrt
