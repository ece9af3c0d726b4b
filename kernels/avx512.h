// AVX-512 intrinsics, or SIMDe's emulation of them so that these kernels can be tested on machines that lack
// them. Include it first: the emulation must see <immintrin.h> before others do.
#pragma once

#ifdef LSRT_SIMDE
#pragma GCC diagnostic ignored "-Wpsabi"  // 64-byte vectors go between inlined functions only
#endif
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // false alarms in the headers of gcc 12
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#ifdef LSRT_SIMDE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
