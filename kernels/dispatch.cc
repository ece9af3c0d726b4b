// Compiled without instruction set flags: it must run on any CPU of the architecture. The build defines
// LSRT_HAVE_<NAME> for every set of isa.inc that it compiles.
#include "kernels/dispatch.h"

#include <string.h>

#include "kernels/isa_sets.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace lsrt {
namespace {

// built_<name>: this binary holds the set. runs_<name>: this CPU and its operating system can run it.
constexpr bool built_scalar = true;
bool runs_scalar() { return true; }

#ifdef LSRT_HAVE_AVX2
constexpr bool built_avx2 = true;
// Every CPU with AVX2 has F16C, which not every compiler can ask for.
bool runs_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#else
constexpr bool built_avx2 = false;
[[maybe_unused]] bool runs_avx2() { return false; }
#endif

#ifdef LSRT_HAVE_AVX512VNNI
constexpr bool built_avx512vnni = true;
bool runs_avx512vnni() {
#ifdef LSRT_SIMDE
  return runs_avx2();  // emulated, for tests
#else
  return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
#endif
}
#else
constexpr bool built_avx512vnni = false;
[[maybe_unused]] bool runs_avx512vnni() { return false; }
#endif

#ifdef LSRT_HAVE_NEONDOT
constexpr bool built_neondot = true;
#else
constexpr bool built_neondot = false;
#endif
#ifdef LSRT_HAVE_NEONI8MM
constexpr bool built_neoni8mm = true;
#else
constexpr bool built_neoni8mm = false;
#endif
#if defined(__aarch64__) && defined(__linux__)
bool runs_neondot() { return getauxval(AT_HWCAP) & (1ul << 20); }                      // HWCAP_ASIMDDP
bool runs_neoni8mm() { return runs_neondot() && getauxval(AT_HWCAP2) & (1ul << 13); }  // HWCAP2_I8MM
#else
[[maybe_unused]] bool runs_neondot() { return false; }
[[maybe_unused]] bool runs_neoni8mm() { return false; }
#endif

enum SetIndex {
#define LSRT_ISA(name, fallback) index_##name,
#include "kernels/isa.inc"
#undef LSRT_ISA
  kSetCount
};

struct Set {
  Kernels kernels;
  SetIndex fallback;
  bool built;
  bool runs;
};

template <typename Function>
void inherit(Function& entry, Function fallback) {
  if (!entry) entry = fallback;
}

void inherit_all(Kernels& k, const Kernels& fallback) {
  inherit(k.gemm.packed_row_bytes, fallback.gemm.packed_row_bytes);
  inherit(k.gemm.pack_rows, fallback.gemm.pack_rows);
  inherit(k.gemm.gemm, fallback.gemm.gemm);
  inherit(k.rows.layer_norm, fallback.rows.layer_norm);
  inherit(k.rows.add, fallback.rows.add);
  inherit(k.rows.add_runs, fallback.rows.add_runs);
  inherit(k.rows.gelu, fallback.rows.gelu);
  inherit(k.rows.relu, fallback.rows.relu);
  inherit(k.rows.softmax_weights, fallback.rows.softmax_weights);
  inherit(k.rows.quantize_symmetric, fallback.rows.quantize_symmetric);
  inherit(k.rows.softmax, fallback.rows.softmax);
  inherit(k.rows.exp_columns, fallback.rows.exp_columns);
  inherit(k.attn.weighted_sum, fallback.attn.weighted_sum);
  inherit(k.attn.weighted_rows, fallback.attn.weighted_rows);
}

struct Registry {
  Set sets[kSetCount] = {};
  const Kernels* available[kSetCount] = {};
  size_t count = 0;
  char names[128] = "";

  Registry() {
// A set that is not built has no definitions to link with: if constexpr leaves them unused.
#define LSRT_ISA(name, fallback)                                                              \
  sets[index_##name].kernels.isa = #name;                                                     \
  if constexpr (built_##name) {                                                               \
    sets[index_##name] = {{#name, name::gemm_kernels, name::row_kernels, name::attn_kernels}, \
                          index_##fallback,                                                   \
                          true,                                                               \
                          runs_##name()};                                                     \
  }
#include "kernels/isa.inc"
#undef LSRT_ISA
    for (size_t i = kSetCount; i-- > 0;) {  // a fallback comes later in the list, so it is complete already
      if (sets[i].built) inherit_all(sets[i].kernels, sets[sets[i].fallback].kernels);
    }
    for (const Set& set : sets) {
      if (!set.runs) continue;
      available[count++] = &set.kernels;
      if (names[0]) strncat(names, ", ", sizeof names - strlen(names) - 1);
      strncat(names, set.kernels.isa, sizeof names - strlen(names) - 1);
    }
  }
};

const Registry& registry() {
  static const Registry r;
  return r;
}

}  // namespace

size_t available_kernels(const Kernels* const** sets) {
  *sets = registry().available;
  return registry().count;
}

const Kernels* find_kernels(const char* isa, KernelChoice* choice) {
  *choice = KernelChoice::kOk;
  if (!isa || !isa[0]) return registry().available[0];
  for (const Set& set : registry().sets) {
    if (strcmp(isa, set.kernels.isa) != 0) continue;
    if (set.runs) return &set.kernels;
    *choice = set.built ? KernelChoice::kUnavailable : KernelChoice::kNotBuilt;
    return nullptr;
  }
  *choice = KernelChoice::kUnknown;
  return nullptr;
}

const char* available_kernel_names() { return registry().names; }

}  // namespace lsrt
