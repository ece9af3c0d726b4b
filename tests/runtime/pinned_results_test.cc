// The bits of int8 results, pinned: goldens, converted and run here, and random models of all kinds of
// layers, made of integers, give the digests that stand in tests/data, whatever the compiler, the C library,
// the architecture and the kernel set. A change of a conversion or of a kernel that is meant to change
// results changes those files, too: LSRT_PIN=1 prints what they should hold.
#include <doctest/doctest.h>

#include <cinttypes>
#include <cstdlib>
#include <map>
#include <variant>

#include "base/digest.h"
#include "kernels/dispatch.h"
#include "runtime/api/verify.h"
#include "tests/support/backends.h"
#include "tests/support/goldens.h"
#include "tests/support/random_model.h"
#include "tests/support/run_model.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

std::string hex(uint64_t digest) {
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, digest);
  return text;
}

nlohmann::json pinned(const char* file_name) {
  std::ifstream file(data_path(file_name));
  REQUIRE(file);
  return nlohmann::json::parse(file);
}

uint64_t digest_of(const std::vector<float>& values) {
  Digest digest;
  digest.update(values.data(), values.size() * sizeof(float));
  return digest.value();
}

}  // namespace

TEST_CASE("int8 goldens have the pinned digests") {
  const nlohmann::json expected = pinned("golden/digests.json");
  nlohmann::json found = nlohmann::json::object();
  for (const std::string& name : golden_names()) {
    const GoldenCheck check = take(check_golden(cpu(convert_golden(name, "int8")), {}));
    found[name] = hex(check.digest);
    CAPTURE(name);
    CHECK(expected.value(name, "none") == found[name]);
  }
  CHECK(found.size() == expected.size());
  if (std::getenv("LSRT_PIN")) MESSAGE(found.dump(1));
}

TEST_CASE("random int8 models have the pinned digests on every kernel set") {
  const nlohmann::json expected = pinned("random_digests.json");
  nlohmann::json found = nlohmann::json::object();
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  std::map<size_t, int> kinds;
  for (uint64_t seed = 1; seed <= 96; ++seed) {
    const auto model =
        take(Model::load_bytes(random_model(seed, Extents::kTiny, Weights::kInt8), std::to_string(seed)));
    for (const Stage& stage : model->stages) {
      for (const Block& block : stage.blocks) ++kinds[block.mixer.index()];
    }
    Random random(seed);
    const Inputs in = random_inputs(*model, random, 1e5);
    CAPTURE(seed);
    CAPTURE(summary(*model));
    for (size_t i = 0; i < count; ++i) {
      const uint64_t digest = digest_of(take(run_model(model, in, {sets[i]->isa})));
      const std::string name = std::to_string(seed);
      found[name] = hex(digest);
      INFO(sets[i]->isa);
      CHECK(expected.value(name, "none") == found[name]);
    }
  }
  CHECK(found.size() == expected.size());
  CHECK(kinds.size() == std::variant_size_v<Mixer>);
  if (std::getenv("LSRT_PIN")) MESSAGE(found.dump(1));
}
