// The bits of int8 results, pinned: the goldens, converted and run here, give the digests that stand in
// tests/data/golden/digests.json, whatever the compiler, the C library and the architecture. A change of a
// conversion or of a kernel that is meant to change results changes that file, too: LSRT_PIN=1 prints what it
// should hold.
#include <doctest/doctest.h>

#include <cinttypes>
#include <cstdlib>

#include "runtime/api/verify.h"
#include "tests/support/backends.h"
#include "tests/support/goldens.h"

using namespace lsrt;
using namespace lsrt_test;

TEST_CASE("int8 goldens have the pinned digests") {
  std::ifstream file(data_path("golden/digests.json"));
  REQUIRE(file);
  const auto pinned = nlohmann::json::parse(file);
  nlohmann::json found = nlohmann::json::object();
  for (const std::string& name : golden_names()) {
    const GoldenCheck check = take(check_golden(cpu(convert_golden(name, "int8")), {}));
    char digest[17];
    std::snprintf(digest, sizeof digest, "%016" PRIx64, check.digest);
    found[name] = digest;
    CAPTURE(name);
    CHECK(pinned.value(name, "none") == digest);
  }
  CHECK(found.size() == pinned.size());
  if (std::getenv("LSRT_PIN")) MESSAGE(found.dump(1));
}
