// Kernel sets and their choice at run time. The set is picked once by the caller (a Backend); the environment
// variable LSRT_ISA or an option forces one by name.
#pragma once

#include "kernels/attn/attn.h"
#include "kernels/filter/filter.h"
#include "kernels/gemm/gemm.h"
#include "kernels/rows/rows.h"
#include "kernels/scan/scan.h"

namespace lsrt {

struct Kernels {
  const char* isa;  // name in isa.inc
  GemmKernels gemm;
  RowKernels rows;
  AttentionKernels attn;
  ScanKernels scan;
  FilterKernels filter;
};

enum class KernelChoice {
  kOk,
  kUnknown,      // no such name in isa.inc
  kNotBuilt,     // this binary was built for another architecture
  kUnavailable,  // this CPU lacks the instructions
};

// All kernel sets of isa.inc that this binary holds and this CPU can run, best first; the last is scalar.
size_t available_kernels(const Kernels* const** sets);

// The set called `isa`; null or "" = the best one. On failure *choice says why and null is returned.
const Kernels* find_kernels(const char* isa, KernelChoice* choice);

// "avx512vnni, avx2, scalar": what this machine can run, for error messages.
const char* available_kernel_names();

}  // namespace lsrt
