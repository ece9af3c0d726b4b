#include <arm_neon.h>

#include "kernels/isa_sets.h"
#include "kernels/simd/rows_simd.h"
#include "kernels/simd/vec_neondot.h"

namespace lsrt {
namespace neondot {

void provide(RowKernels& k) { provide_rows<Vector>(k); }

}  // namespace neondot
}  // namespace lsrt
