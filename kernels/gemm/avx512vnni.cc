// int8 matrix product for AVX-512 VNNI: a register holds the 16 outputs of a panel.
#include "kernels/gemm/tiles_avx512.h"
#include "kernels/isa_sets.h"

namespace lsrt {
namespace avx512vnni {

void provide(GemmKernels& k) {
  k.packed_row_bytes = packed_row_bytes;
  k.pack_rows = pack_rows<Tiles>;
  k.gemm = gemm<Tiles>;
}

}  // namespace avx512vnni
}  // namespace lsrt
