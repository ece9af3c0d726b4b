// The number of threads where the caller leaves the choice.
#include "runtime/device/threads.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "converter/random_model.h"
#include "tests/support/backends.h"
#include "tests/support/goldens.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

std::shared_ptr<const Model> random(const std::string& arch) {
  return take(Model::load_bytes(take(random_model(arch, {})), arch));
}

}  // namespace

TEST_CASE("cores are at least one and at most the system's") {
  CHECK(usable_cores() >= 1);
  CHECK(usable_cores() <= std::max(std::thread::hardware_concurrency(), 1u));
}

TEST_CASE("who asks gets what was asked for; else small models get one thread, large ones the cores") {
  const auto small = convert_golden("lm-preln-rank2", "int8");  // 49,152 multiply-adds a block
  CHECK(choose_threads(*small, 5) == 5);
  CHECK(choose_threads(*small, 0) == 1);
  // 3.2 million a block and token: 12 threads; images and documents: hundreds.
  CHECK(choose_threads(*random("enwik8-base"), 0) == std::min(12u, usable_cores()));
  for (const char* arch : {"vil-ls-medium-224", "lra"})
    CHECK(choose_threads(*random(arch), 0) == usable_cores());
}

TEST_CASE("the choice changes no result") {
  for (const char* name : {"lm-preln-rank2", "vil-4stage"}) {
    const auto model = convert_golden(name, "int8");
    ArrayOptions one;
    one.threads = 1;
    const bool text = model->image.size == 0;
    const Array input = golden_array(name, text ? "tokens" : "image");
    const Array expected = take(run_arrays(cpu(model), {input}, one))[0],
                got = take(run_arrays(cpu(model), {input}, {}))[0];
    CHECK(expected.bytes == got.bytes);
  }
}
