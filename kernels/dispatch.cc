// Compiled without instruction set flags: it must run on any CPU of the architecture. So must the functions
// of a kernel set never be called, not even provide(), where the CPU cannot run it.
#include "kernels/dispatch.h"

#include <string.h>

#include "kernels/cpu_features.h"
#include "kernels/isa_sets.h"

namespace lsrt {
namespace {

enum SetIndex {
#define LSRT_ISA(name, ...) index_##name,
#include "kernels/isa.inc"
#undef LSRT_ISA
  kSetCount
};

constexpr size_t kKernelCount = 0
#define LSRT_KERNEL(family, entry) +1
#include "kernels/kernels.inc"
#undef LSRT_KERNEL
    ;
static_assert(sizeof(Kernels) == sizeof(const char*) + kKernelCount * sizeof(void (*)()),
              "every entry of a kernel family is in kernels.inc");

// A file of this build, kernels/<family>/<set>.cc; the build writes the list of them.
struct Part {
  SetIndex set;
  void (*provide)(Kernels& k);
};
constexpr Part kParts[] = {
#define LSRT_PART(family, set) {index_##set, [](Kernels& k) { set::provide(k.family); }},
#include "kernels/parts.inc"
#undef LSRT_PART
};

struct Set {
  const char* isa;
  SetIndex fallback;
  bool runs;  // as far as the CPU is concerned, then: built and all that it falls back to runs
  bool built;
  Kernels kernels;
};

struct Registry {
  Set sets[kSetCount];
  const Kernels* available[kSetCount] = {};
  size_t count = 0;
  char names[128] = "";

  explicit Registry(const CpuFeatures& cpu)
      : sets{
#define LSRT_ISA(name, fallback, ...) {#name, index_##fallback, cpu.runs_##name(), false, {}},
#include "kernels/isa.inc"
#undef LSRT_ISA
        } {
    for (const Part& part : kParts) sets[part.set].built = true;
    for (size_t i = kSetCount; i-- > 0;) {  // a fallback comes later in the list, so it is complete already
      Set& set = sets[i];
      const Set& fallback = sets[set.fallback];
      set.runs = set.runs && set.built && fallback.runs;
      if (!set.runs) continue;
      set.kernels = fallback.kernels;
      set.kernels.isa = set.isa;
      for (const Part& part : kParts) {
        if (part.set == i) part.provide(set.kernels);
      }
    }
    for (const Set& set : sets) {
      if (!set.runs) continue;
      available[count++] = &set.kernels;
      if (names[0]) strncat(names, ", ", sizeof names - strlen(names) - 1);
      strncat(names, set.isa, sizeof names - strlen(names) - 1);
    }
  }
};

const Registry& registry() {
  static const Registry r{CpuFeatures()};
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
    if (strcmp(isa, set.isa) != 0) continue;
    if (set.runs) return &set.kernels;
    *choice = set.built ? KernelChoice::kUnavailable : KernelChoice::kNotBuilt;
    return nullptr;
  }
  *choice = KernelChoice::kUnknown;
  return nullptr;
}

const char* available_kernel_names() { return registry().names; }

}  // namespace lsrt
