// What a converted model stores about its own outputs, and that any other output is seen.
#include "runtime/api/verify.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

#include "kernels/dispatch.h"
#include "tests/support/goldens.h"

namespace lsrt_test {
namespace {

GoldenCheck check(const std::shared_ptr<const Model>& model, const std::string& isa, uint32_t threads) {
  BackendOptions device;
  device.isa = isa;
  const std::shared_ptr<Backend> backend = take(Backend::create(device, model));
  ArrayOptions options;
  options.threads = threads;
  return take(check_golden(backend, options));
}

const char* const kGoldens[] = {"lm-preln-rank2", "vil-4stage", "lra-dual"};

TEST_CASE("every kernel set gives the bits that conversion stored") {
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  for (const std::string name : kGoldens) {
    CAPTURE(name);
    const auto model = convert_golden(name, "int8");
    REQUIRE(model->golden.digest != 0);
    for (size_t i = 0; i < count; ++i) {
      CAPTURE(sets[i]->isa);
      for (const uint32_t threads : {1, 2, 3}) {
        const GoldenCheck found = check(model, sets[i]->isa, threads);
        CHECK(found.digest == model->golden.digest);
        CHECK(found.max_difference == model->golden.max_difference);
        CHECK(found.rows > 0);
        CHECK(found.mean_kl > 0);
        CHECK(found.relative_difference > 0);
        CHECK(agrees(*model, found).ok());
      }
    }
  }
}

TEST_CASE("a float32 model stores no digest and is compared by value") {
  const auto model = convert_golden("lm-preln-rank2", "float32");
  CHECK(model->golden.digest == 0);
  GoldenCheck found = check(model, "", 1);
  CHECK(agrees(*model, found).ok());
  found.max_difference = 3e-4f;
  CHECK(agrees(*model, found).code() == Error::kModel);
  found.max_difference = std::numeric_limits<float>::quiet_NaN();
  CHECK(agrees(*model, found).code() == Error::kModel);
}

// The changes keep the sums of their rows, so that the loader has no word against them.
TEST_CASE("a weight that was changed shows, whichever layer has it") {
  for (const std::string name : kGoldens) {
    CAPTURE(name);
    const auto model = convert_golden(name, "int8");
    size_t changed = 0;
    for (const TensorView& tensor : model->tensors()) {
      if (tensor.type != DataType::kInt8 || tensor.rank != 2) continue;
      if (tensor.name.find("r_net_chunk") != std::string_view::npos) continue;  // for larger memories only
      CAPTURE(tensor.name);
      ModelBytes other(model->bytes(), model->bytes() + model->file_bytes());
      auto* panel = reinterpret_cast<int8_t*>(other.data() +
                                              (static_cast<const uint8_t*>(tensor.data) - model->bytes()));
      // Inputs 0 .. 3 of every row of the first panel: one row alone may be a unit that is never on.
      for (size_t row = 0; row < std::min<size_t>(kPanelOutputs, tensor.shape[0]); ++row) {
        int8_t* weight = panel + row * kPanelDepth;
        size_t up = 0, down = 0;
        while (up < 4 && weight[up] > 100) ++up;
        while (down < 4 && (down == up || weight[down] < -100)) ++down;
        REQUIRE((up < 4 && down < 4));
        weight[up] += 20, weight[down] -= 20;
      }
      const auto damaged = take(Model::load_bytes(std::move(other), "damaged"));
      const GoldenCheck found = check(damaged, "", 1);
      CHECK(agrees(*damaged, found).code() == Error::kModel);
      ++changed;
    }
    CHECK(changed > 5);
  }
}

}  // namespace
}  // namespace lsrt_test
