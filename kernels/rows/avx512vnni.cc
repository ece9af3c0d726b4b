#include "kernels/isa_sets.h"
#include "kernels/simd/avx512.h"
#include "kernels/simd/rows_simd.h"
#include "kernels/simd/vec_avx512.h"

namespace lsrt {
namespace avx512vnni {

void provide(RowKernels& k) {
  const auto add_runs = k.add_runs;  // runs are short: narrower registers are faster
  provide_rows<Vector>(k);
  k.add_runs = add_runs;
}

}  // namespace avx512vnni
}  // namespace lsrt
