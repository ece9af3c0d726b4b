// Weights, scales and inputs that are no numbers, or hardly: results are defined (runtime/lsrt.h), so they
// are the same on every kernel set, and nothing crashes.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>

#include "kernels/dispatch.h"
#include "tests/support/bounded_run.h"
#include "tests/support/damage.h"
#include "tests/support/goldens.h"
#include "tests/support/random_model.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

using Limits = std::numeric_limits<float>;
const float kOdd[] = {Limits::quiet_NaN(),
                      Limits::infinity(),
                      -Limits::infinity(),
                      Limits::max(),
                      -Limits::max(),
                      Limits::min(),
                      Limits::denorm_min(),
                      -1e-42f,
                      1e30f,
                      1e-30f,
                      0.0f,
                      -0.0f};

// The results of a model on all sets of the machine, which must be the same; none if it does not run.
std::optional<std::vector<float>> run_on_all_sets(const std::shared_ptr<const Model>& model,
                                                  const Inputs& in) {
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  std::optional<std::vector<float>> first;
  for (size_t i = 0; i < count; ++i) {
    const auto out = run_model(model, in, {sets[i]->isa});
    if (!out.ok()) return {};
    if (!first) first = out.value();
    INFO(summary(*model) << " on " << sets[i]->isa);
    CHECK(same_results(*first, out.value()));
  }
  return first;
}

bool finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

// Overwrites a few of the numbers of a few arrays, whatever they are: what is int8 weights is refused by the
// loader.
void make_odd(ModelBytes* bytes, const std::vector<size_t>& spans, Random& random) {
  for (uint32_t n = random.in(1, 3); n > 0; --n) {
    fb::Span span;
    std::memcpy(&span, bytes->data() + spans[random.in(0, spans.size() - 1)], sizeof span);
    if (span.bytes() < sizeof(float)) continue;
    const float value = kOdd[random.in(0, std::size(kOdd) - 1)];
    for (uint32_t m = random.in(1, 4); m > 0; --m) {
      const size_t at = random.in(0, span.bytes() / sizeof(float) - 1) * sizeof(float);
      std::memcpy(bytes->data() + span.offset() + at, &value, sizeof value);
    }
  }
}

}  // namespace

TEST_CASE("weights and scales that are not finite, subnormal or huge") {
  size_t refused = 0, whole = 0, holes = 0;
  const uint64_t seeds = std::getenv("LSRT_MODELS") ? 50 : 250;  // fewer where each takes long
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    const ModelBytes base = random_model(seed, Extents::kTiny, seed % 2 ? Weights::kInt8 : Weights::kFloat32);
    if (base.empty()) continue;
    const HeaderSites sites(base);
    for (uint64_t change = 0; change < 4; ++change) {
      Random random(seed * 4 + change);
      ModelBytes bytes = base;
      make_odd(&bytes, sites.spans, random);
      const auto model = Model::load_bytes(std::move(bytes), "odd");
      if (!model.ok()) {
        ++refused;
        continue;
      }
      if (too_large(*model.value())) continue;
      const auto out = run_on_all_sets(model.value(), random_inputs(*model.value(), random, 3e5));
      if (out) ++(finite(*out) ? whole : holes);
    }
  }
  MESSAGE(refused << " refused by the loader, " << whole << " run to finite results, " << holes
                  << " to others");
  CHECK(refused > seeds / 5);
  CHECK(whole > seeds / 5);
  CHECK(holes > seeds / 5);
}

TEST_CASE("images of values that are none") {
  for (const std::string& name : golden_names("vil")) {
    const auto model = convert_golden(name, Precision::kInt8);
    for (const float value : kOdd) {
      Random random(3);
      Inputs in = random_inputs(*model, random, 1e7);
      in.images[7] = value;
      CHECK(run_on_all_sets(model, in));
      std::fill(in.images.begin(), in.images.end(), value);
      CHECK(run_on_all_sets(model, in));
    }
  }
}
