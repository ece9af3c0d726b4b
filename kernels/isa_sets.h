// What every kernel set of isa.inc defines, in its own namespace.
#pragma once

#include "kernels/attn.h"
#include "kernels/gemm.h"
#include "kernels/rows.h"

#define LSRT_ISA(name, fallback)              \
  namespace lsrt {                            \
  namespace name {                            \
  extern const GemmKernels gemm_kernels;      \
  extern const RowKernels row_kernels;        \
  extern const AttentionKernels attn_kernels; \
  }                                           \
  }
#include "kernels/isa.inc"
#undef LSRT_ISA
