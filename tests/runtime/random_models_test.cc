// Random well-formed models of all families, each run in every way that must not matter and compared with
// plain double precision.
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <map>

#include "kernels/dispatch.h"
#include "tests/support/naive_causal.h"
#include "tests/support/naive_encoder.h"
#include "tests/support/naive_slide.h"
#include "tests/support/naive_vision.h"
#include "tests/support/random_model.h"
#include "tests/support/run_model.h"
#include "tests/support/take.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

// Which models a test case runs. LSRT_MODELS=PERCENT: more or less than the usual number;
// LSRT_MODELS=FIRST-COUNT: these, for one that failed.
struct Seeds {
  uint64_t first = 1, count;
  explicit Seeds(uint64_t usual) : count(usual) {
    const char* text = std::getenv("LSRT_MODELS");
    if (!text) return;
    char* end;
    const uint64_t number = std::strtoull(text, &end, 10);
    count = std::max<uint64_t>(usual * number / 100, 1);
    if (*end == '-') first = number, count = std::strtoull(end + 1, nullptr, 10);
  }
};

std::shared_ptr<const Model> load(uint64_t seed, Extents extents, Weights weights) {
  ModelBytes bytes = random_model(seed, extents, weights);
  REQUIRE(!bytes.empty());
  return take(Model::load_bytes(std::move(bytes), "random"));
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Runs it on every kernel set, with threads, batches and splits as they come.
void check_all_ways(uint64_t seed, Extents extents, double work) {
  const auto model = load(seed, extents, Weights::kInt8);
  CAPTURE(seed);
  CAPTURE(summary(*model));
  Random random(seed ^ 0x5eed);
  const Inputs in = random_inputs(*model, random, work);
  const std::vector<float> expected = take(run_model(model, in, {"scalar"}));
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  for (size_t i = 0; i < count; ++i) {
    RunOptions options{sets[i]->isa, random.in(1, 3), random.pick<size_t>({0, 1, 5, 12, 64, 100, 256}),
                       random.next()};
    CAPTURE(options.isa);
    CAPTURE(options.threads);
    CAPTURE(options.max_batch);
    CHECK(same_bits(expected, take(run_model(model, in, options))));
  }
}

// Of the largest expected value, or of 1: what is claimed of float models.
constexpr double kBound = 1e-5;

template <typename T>
double relative_difference(const std::vector<double>& expected, const std::vector<T>& got) {
  REQUIRE(got.size() == expected.size());
  double largest = 1, difference = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::fabs(expected[i]));
    const double d = std::fabs(expected[i] - static_cast<double>(got[i]));
    if (std::isnan(d)) return d;
    difference = std::max(difference, d);
  }
  return difference / largest;
}

// The same outputs in plain double precision.
std::vector<double> reference(const Model& model, const Inputs& in) {
  std::vector<double> out;
  const auto add = [&](const naive::Row& row) { out.insert(out.end(), row.begin(), row.end()); };
  if (model.family == Family::kLm) {
    naive::CausalStream stream(model, in.block, in.memory);
    for (int32_t token : in.tokens) add(stream.feed(token));
  } else if (model.family == Family::kEncoder) {
    std::vector<std::vector<int>> masks = in.masks;
    for (size_t i = 0; i < masks.size(); ++i) masks[i].resize(in.documents[i].size(), 1);
    add(naive::classify(model, in.documents, masks));
  } else if (model.family == Family::kSlide) {
    add(naive::embed_slide(model, in.tiles, in.coords));
  } else {
    const size_t pixels = in.images.size() / in.count;
    for (size_t i = 0; i < in.count; ++i) add(naive::classify_image(model, &in.images[i * pixels]));
  }
  return out;
}

}  // namespace

TEST_CASE("float32 models equal plain double precision") {
  const Seeds seeds(200);
  std::map<std::string, double> worst;
  size_t sensitive = 0;
  for (uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
    const auto model = load(seed, Extents::kUsual, Weights::kFloat32);
    CAPTURE(seed);
    CAPTURE(summary(*model));
    Random random(seed ^ 0x5eed);
    const Inputs in = random_inputs(*model, random, 2e7);
    RunOptions options;
    if (random.chance(15)) {
      options.threads = 2;  // XNNPACK's pool is slow where steps are small and cores are busy
    } else {
      options.max_batch = random.pick<size_t>({0, 1, 5, 12, 64, 256}), options.splits = random.next();
    }
    const std::vector<float> got = take(run_model(model, in, options));
    const std::vector<double> expected = reference(*model, in);
    const double difference = relative_difference(expected, got);
    if (!(difference < kBound)) {
      // A norm of two nearly equal values, or sums over thousands of keys.
      naive::round_rows = true;
      const double rounding = relative_difference(expected, reference(*model, in));
      naive::round_rows = false;
      ++sensitive;
      CHECK(difference < 8 * rounding);
      continue;
    }
    double& of_family = worst[family_name(model->family)];
    of_family = std::max(of_family, difference);
  }
  for (const auto& [family, difference] : worst) MESSAGE(family << ": largest difference " << difference);
  MESSAGE(sensitive << " models beyond the bound, as rounding lets them, of " << seeds.count);
}

TEST_CASE("int8 results depend on neither kernel set, threads, batches nor splits") {
  const Seeds seeds(300);
  for (uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
    check_all_ways(seed, Extents::kUsual, 4e7);
  }
}

TEST_CASE("the same near the largest extents") {
  const Seeds seeds(8);
  for (uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
    check_all_ways(seed, Extents::kExtreme, 4e6);
  }
}
