// What the README promises of int8 results, as one matrix: kernel sets, numbers of threads, splits of the
// input, batches, models read or mapped, and, of streams, a saved state that goes on elsewhere at every
// split: equal bits. (pinned_results_test has the compilers and architectures, device_test and tests/cuda the
// devices.)
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>

#include "kernels/dispatch.h"
#include "tests/support/goldens.h"
#include "tests/support/run_model.h"
#include "tests/support/streams.h"
#include "tests/support/take.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

std::vector<std::string> available_sets() {
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  std::vector<std::string> names;
  for (size_t i = 0; i < count; ++i) names.push_back(sets[i]->isa);
  return names;
}

// The sizes of the calls that a text comes in.
enum class Split { kWhole, kRandom, kSingle };

size_t next_call(Split split, Random& random, size_t left) {
  if (split == Split::kWhole) return left;
  return split == Split::kSingle ? 1 : std::min<size_t>(left, random.in(1, 30));
}

// All log-probabilities of a text whose stream moves, at every split, to another session: of another kernel
// set, number of threads and batch.
std::vector<float> moving_stream(const std::shared_ptr<const Model>& model, const Inputs& in, Split split) {
  const std::vector<std::string> sets = available_sets();
  const size_t vocabulary = model->vocabulary.size();
  std::vector<float> out(in.tokens.size() * vocabulary);
  std::vector<uint8_t> state;
  Random random(11);
  for (size_t done = 0, i = 0, n; done < in.tokens.size(); done += n, ++i) {
    CausalOptions options;
    options.threads = 1 + i % 3, options.max_rows = i % 2 ? 5 : 0, options.block = in.block,
    options.memory = in.memory;
    const auto session =
        take(Session::create(take(Backend::create({"cpu", sets[i % sets.size()]}, model)), options));
    if (!state.empty()) REQUIRE(session->load(state.data(), state.size(), "state", nullptr).ok());
    n = next_call(split, random, in.tokens.size() - done);
    REQUIRE(session->feed(&in.tokens[done], n, Session::Output::kAll, &out[done * vocabulary]).ok());
    state = saved_bytes(*session);
  }
  return out;
}

}  // namespace

TEST_CASE("int8 results do not change") {
  // Fewer where there are few random models, too: emulated, each cell takes long.
  const std::vector<size_t> thread_counts =
      std::getenv("LSRT_MODELS") ? std::vector<size_t>{3} : std::vector<size_t>{1, 2, 3, 8};
  size_t cells = 0, models = 0;
  for (const std::string& name : golden_names()) {
    const TemporaryFolder folder;
    take(convert(golden_checkpoint(name), folder / "m.lsrt", golden_options(name, Precision::kInt8)));
    const auto read = take(Model::load(folder / "m.lsrt", Placement::kMemory)),
               mapped = take(Model::load(folder / "m.lsrt", Placement::kMapped));
    Random random(5);
    Inputs in = random_inputs(*read, random, 3e6);
    if (in.tokens.size() > 90) in.tokens.resize(90);
    const std::vector<float> expected = take(run_model(read, in, {"scalar"}));
    const auto check = [&](const std::vector<float>& got) {
      CHECK((got.size() == expected.size() &&
             std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)) == 0));
      ++cells;
    };
    ++models;
    for (const std::string& isa : available_sets()) {
      for (const size_t threads : thread_counts) {
        for (const auto& model : {read, mapped}) {
          for (const uint64_t splits : {0, 1}) {
            if (splits && read->family != Family::kLm) continue;
            for (const size_t max_batch : {0, 1, 3}) {
              INFO(name << ", " << isa << ", " << threads << " threads, splits " << splits << ", batch "
                        << max_batch);
              check(take(run_model(model, in, {isa, threads, max_batch, splits})));
            }
          }
        }
      }
    }
    if (read->family != Family::kLm) continue;
    for (const Split split : {Split::kWhole, Split::kRandom, Split::kSingle}) {
      INFO(name << ", moving, split " << static_cast<int>(split));
      check(moving_stream(mapped, in, split));
    }
  }
  MESSAGE(models << " models, " << cells << " cells");
  CHECK(models >= 16);
  CHECK(cells >= models * thread_counts.size() * 6);
}
