// Random models and inputs, chosen by numbers that are the fuzzer's input: every kernel set, batch size,
// number of threads and split gives the same bits.
#include "fuzz/fuzz.h"
#include "kernels/dispatch.h"
#include "tests/support/bounded_run.h"
#include "tests/support/random_model.h"

using namespace lsrt;
using namespace lsrt_test;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lsrt_fuzz::Front front(data, size);
  const auto seed = front.take<uint64_t>();
  const bool usual = front.take<uint8_t>() % 16 == 0;
  ModelBytes bytes = random_model(seed, usual ? Extents::kUsual : Extents::kTiny, Weights::kInt8);
  lsrt_fuzz::require(!bytes.empty(), "a random model can be written");
  const auto loaded = Model::load_bytes(std::move(bytes), "random");
  lsrt_fuzz::require(loaded.ok(), "a well-formed model loads");
  const std::shared_ptr<const Model>& model = loaded.value();
  Random random(front.take<uint64_t>());
  const Inputs in = random_inputs(*model, random, kMostWork);
  const auto expected = run_model(model, in, {"scalar"});
  lsrt_fuzz::require(expected.ok(), "a well-formed model runs");
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  for (size_t i = 0; i < count; ++i) {
    const auto how = front.take<uint16_t>();
    const RunOptions options{sets[i]->isa, how % 8 == 0 ? 2u : 1u, how >> 3 & 63u, random.next()};
    const auto got = run_model(model, in, options);
    lsrt_fuzz::require(got.ok(), "it runs in every way");
    lsrt_fuzz::require(same_results(expected.value(), got.value()),
                       "the bits do not depend on how it is run");
  }
  return 0;
}
