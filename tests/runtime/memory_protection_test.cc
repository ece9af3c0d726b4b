// No memory of a process that runs models is writable and executable (SECURITY.md): neither ours nor
// XNNPACK's.
#include <doctest/doctest.h>

#include <fstream>
#include <string>

#include "runtime/api/verify.h"
#include "tests/support/backends.h"
#include "tests/support/goldens.h"

using namespace lsrt;
using namespace lsrt_test;

TEST_CASE("no page is writable and executable while models are at work") {
  std::vector<std::shared_ptr<Backend>> alive;
  for (const char* precision : {"int8", "float32"}) {
    for (const char* family : {"lm", "vil", "encoder"}) {
      alive.push_back(cpu(convert_golden(golden_names(family).front(), precision)));
      take(check_golden(alive.back(), {}));
    }
  }
  std::ifstream maps("/proc/self/maps");
  REQUIRE(maps);
  size_t count = 0;
  for (std::string line; std::getline(maps, line); ++count) {
    CAPTURE(line);
    const std::string rights = line.substr(line.find(' ') + 1, 4);
    CHECK_FALSE(rights.substr(1, 2) == "wx");
  }
  CHECK(count > 5);
}
