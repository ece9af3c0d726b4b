// What the files of a kernel set define, in the namespace of the set: kernels/<family>/<name>.cc puts the
// entries of its family that it has into `k`, by name; the others keep those of the set it falls back to.
#pragma once

#include "kernels/attn/attn.h"
#include "kernels/filter/filter.h"
#include "kernels/gemm/gemm.h"
#include "kernels/rows/rows.h"
#include "kernels/scan/scan.h"

#define LSRT_ISA(name, ...)          \
  namespace lsrt {                   \
  namespace name {                   \
  void provide(GemmKernels& k);      \
  void provide(RowKernels& k);       \
  void provide(AttentionKernels& k); \
  void provide(ScanKernels& k);      \
  void provide(FilterKernels& k);    \
  }                                  \
  }
#include "kernels/isa.inc"
#undef LSRT_ISA
