// The features of this CPU that the kernel sets of isa.inc need.
#pragma once

#include <initializer_list>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace lsrt {

// One member a feature: the CPU has it and the operating system keeps its registers.
struct CpuFeatures {
  bool avx2 = false, fma = false, f16c = false, avxvnni = false;
  bool avx512f = false, avx512bw = false, avx512vl = false, avx512dq = false, avx512vnni = false;
  bool amx_tile = false, amx_int8 = false;
  bool dotprod = false, i8mm = false;

  CpuFeatures() {
#if defined(__x86_64__)
    avx2 = __builtin_cpu_supports("avx2");
    fma = __builtin_cpu_supports("fma");
    f16c = avx2;  // every CPU with AVX2 has it; not every compiler can ask
    avx512f = __builtin_cpu_supports("avx512f");
    avx512bw = __builtin_cpu_supports("avx512bw");
    avx512vl = __builtin_cpu_supports("avx512vl");
    avx512dq = __builtin_cpu_supports("avx512dq");
    avx512vnni = __builtin_cpu_supports("avx512vnni");
    unsigned eax = 0, ebx, ecx, edx;
    avxvnni = avx2 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & 1u << 4) != 0;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx & 3u << 24) == 3u << 24) {
      amx_tile = amx_int8 = allow_tiles();
    }
#elif defined(__aarch64__) && defined(__linux__)
    dotprod = getauxval(AT_HWCAP) & (1ul << 20);  // HWCAP_ASIMDDP
    i8mm = getauxval(AT_HWCAP2) & (1ul << 13);    // HWCAP2_I8MM
#endif
#if defined(LSRT_SIMDE)  // emulated, for tests
    avxvnni = avx512f = avx512bw = avx512vl = avx512dq = avx512vnni = avx2;
    amx_tile = amx_int8 = avx2;
#elif defined(LSRT_AVXVNNI_EVEX)  // its instructions in the encoding of AVX-512, for tests
    avxvnni = avx512f && avx512vl && avx512vnni;
#endif
  }

// runs_<set>(): all that the set needs besides its fallback.
#define LSRT_ISA(name, fallback, architecture, ...) \
  bool runs_##name() const { return all({__VA_ARGS__}); }
#include "kernels/isa.inc"
#undef LSRT_ISA

 private:
#if defined(__x86_64__)
  // A process of Linux asks before its first thread uses tiles: signal frames grow.
  static bool allow_tiles() {
#if defined(__linux__)
    constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
    return false;
#endif
  }
#endif

  static bool all(std::initializer_list<bool> features) {
    for (const bool has : features) {
      if (!has) return false;
    }
    return true;
  }
};

}  // namespace lsrt
