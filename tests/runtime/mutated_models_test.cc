// Damaged models: what the loader accepts must run. Thousands of random models, and the goldens, changed in
// ways that know the format, each loaded and, where it loads, run, in child processes and under sanitizers.
//
// LSRT_MUTATIONS=COUNT: how many; LSRT_MUTATIONS=FIRST-COUNT: these, to replay one that failed.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <optional>

#include "kernels/dispatch.h"
#include "tests/support/bounded_run.h"
#include "tests/support/damage.h"
#include "tests/support/files.h"
#include "tests/support/goldens.h"
#include "tests/support/random_model.h"
#include "tests/support/workers.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

// An undamaged model serves for this many mutations.
constexpr uint64_t kPerBase = 20;

enum Kind : uint8_t { kRefused, kUnfit, kTooLarge, kRun, kDiffers, kFailed };

struct Base {
  ModelBytes bytes;
  std::optional<HeaderSites> sites;
};

class Bases {
 public:
  explicit Bases(std::vector<ModelBytes> goldens) : goldens_(std::move(goldens)) {}

  const Base& of(uint64_t mutation) {
    const uint64_t number = mutation / kPerBase;
    if (!current_ || number != number_) {
      number_ = number;
      current_.emplace();
      current_->bytes = make(number);
      current_->sites.emplace(current_->bytes);
    }
    return *current_;
  }

 private:
  ModelBytes make(uint64_t number) const {
    Random random(number ^ 0xba5e);
    const uint32_t kind = random.in(0, 99);
    if (kind < 3) return goldens_[random.in(0, goldens_.size() - 1)];
    const Weights weights = random.pick({Weights::kInt8, Weights::kInt8, Weights::kFloat32, Weights::kMixed});
    // Beyond the limits a tensor may be empty, which cannot be written: then the next model.
    ModelBytes bytes;
    for (uint64_t seed = number; bytes.empty(); seed += uint64_t{1} << 32) {
      bytes = random_model(seed, kind < 10 ? Extents::kBeyond : Extents::kTiny, weights);
    }
    return bytes;
  }

  std::vector<ModelBytes> goldens_;
  std::optional<Base> current_;
  uint64_t number_ = 0;
};

ModelBytes golden_bytes(const std::string& name, Precision precision) {
  const TemporaryFolder folder;
  take(convert(golden_checkpoint(name), folder / "m.lsrt", golden_options(name, precision)));
  const std::string file = read_file(folder / "m.lsrt");
  return ModelBytes(file.begin(), file.end());
}

Kind mutate_and_run(uint64_t mutation, Bases* bases) {
  const Base& base = bases->of(mutation);
  Random random(mutation);
  ModelBytes bytes = base.bytes;
  if (mutation % kPerBase) Damage(*base.sites, random, &bytes).apply();  // the first one as it is
  const auto loaded = Model::load_bytes(std::move(bytes), "damaged");
  if (!loaded.ok()) return kRefused;
  const std::shared_ptr<const Model>& model = loaded.value();
  if (too_large(*model)) return kTooLarge;

  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  RunOptions options;
  options.isa = sets[random.in(0, count - 1)]->isa;
  options.threads = random.chance(10) ? 2 : 1;
  options.max_batch = random.pick<size_t>({0, 0, 1, 5, 64}), options.splits = random.in(0, 1);
  const Result<double> planned = planned_bytes(model, options);
  if (!planned.ok()) return kUnfit;
  if (planned.value() > kMostBytes) return kTooLarge;
  Inputs in = random_inputs(*model, random, kMostWork);
  in.block = in.memory = 0;
  const auto out = run_model(model, in, options);
  if (!out.ok()) {
    std::fprintf(stderr, "mutation %llu planned but does not run: %s\n",
                 static_cast<unsigned long long>(mutation), out.status().message().c_str());
    return kFailed;
  }
  if (mutation % 4) return kRun;
  // Float products may depend on how many rows are computed at once (XNNPACK has other loops for few): then
  // only the set is another one.
  RunOptions others = all_linear(*model, DataType::kInt8) ? RunOptions() : options;
  others.isa = sets[random.in(0, count - 1)]->isa;
  const auto again = run_model(model, in, others);
  if (again.ok() && same_results(out.value(), again.value())) return kRun;
  std::fprintf(stderr, "mutation %llu gives other results on another kernel set or batch: %s\n",
               static_cast<unsigned long long>(mutation), summary(*model).c_str());
  return kDiffers;
}

}  // namespace

TEST_CASE("what loads of damaged models runs, with the same results on every kernel set") {
  uint64_t first = 0, count = 10000;
  if (const char* text = std::getenv("LSRT_MUTATIONS")) {
    char* end;
    count = std::strtoull(text, &end, 10);
    if (*end == '-') first = count, count = std::strtoull(end + 1, nullptr, 10);
  }
  std::vector<ModelBytes> goldens;
  for (const std::string& name : golden_names()) {
    for (Precision precision : {Precision::kInt8, Precision::kFloat32})
      goldens.push_back(golden_bytes(name, precision));
  }
  Bases bases(std::move(goldens));
  const Outcomes outcomes = in_children(first, count, [&](uint64_t i) { return mutate_and_run(i, &bases); });
  const auto& n = outcomes.counts;
  MESSAGE(count << " mutations: " << n[kRefused] << " refused by the loader, " << n[kRun] << " run, "
                << n[kUnfit] << " refused by the plan, " << n[kTooLarge] << " too large to run here");
  for (uint64_t item : outcomes.crashed) MESSAGE("crashed: LSRT_MUTATIONS=" << item << "-1");
  CHECK(outcomes.crashed.empty());
  CHECK(n[kFailed] == 0);
  CHECK(n[kDiffers] == 0);
  CHECK(n[kRefused] + n[kRun] + n[kUnfit] + n[kTooLarge] == count);
  // Damage that is always refused, or never, would test little.
  CHECK(n[kRun] * 10 > count);
  CHECK(n[kRefused] * 10 > count);
  CHECK(n[kTooLarge] * 20 < count);
}
