#include "kernels/isa_sets.h"
#include "kernels/simd/avx512.h"
#include "kernels/simd/filter_simd.h"
#include "kernels/simd/vec_avx512.h"

namespace lsrt {
namespace avx512vnni {

void provide(FilterKernels& k) { provide_filter<Vector>(k); }

}  // namespace avx512vnni
}  // namespace lsrt
