// Vision transformers: the goldens, batches, threads, kernel sets, windows of every kind.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/dispatch.h"
#include "runtime/vision_network.h"
#include "tests/support.h"

using namespace lsrt;
using lsrt_test::convert_golden;
using lsrt_test::golden_array;
using lsrt_test::take;

namespace {

const char* const kCases[] = {"vil-3stage-odd-window-ape", "vil-4stage"};

std::unique_ptr<VisionNetwork> network(const std::shared_ptr<const Model>& model,
                                       ClassifierOptions options = {}, const std::string& isa = "") {
  return take(VisionNetwork::create(model, take(Backend::create("cpu", isa)), options));
}

struct Outputs {
  std::vector<float> logits;
  std::vector<std::vector<float>> stages;
};

Outputs run(VisionNetwork& net, const std::vector<float>& images) {
  const size_t count = images.size() / (3 * net.image_size() * net.image_size());
  Outputs out;
  out.logits.resize(count * net.classes());
  REQUIRE(net.run(images.data(), count, out.logits.data(), &out.stages).ok());
  return out;
}

std::vector<float> some_images(const Model& model, size_t count) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  std::vector<float> images(count * 3 * model.image.size * model.image.size);
  for (float& value : images) value = normal(random);
  return images;
}

double largest(const float* x, size_t n) {
  double most = 0;
  for (size_t i = 0; i < n; ++i) most = std::max<double>(most, std::fabs(x[i]));
  return most;
}

// Largest difference, relative to the largest expected value.
double difference(const Array& got, const Array& expected) {
  REQUIRE(got.shape == expected.shape);
  double most = 0;
  for (size_t i = 0; i < got.elements(); ++i) {
    const double d = std::fabs(got.floats()[i] - expected.floats()[i]);
    if (!(d <= most)) most = d;
  }
  return most / largest(expected.floats(), expected.elements());
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("float32 models agree with the authors' implementation, stage by stage") {
  for (const char* name : kCases) {
    const auto model = convert_golden(name, "float32");
    ArrayOptions options;
    options.intermediate = true;
    options.threads = 2;
    const auto outputs = take(run_arrays(model, {golden_array(name, "image")}, options));
    REQUIRE(outputs.size() == 1 + model->stages.size());
    for (const Array& output : outputs) {
      const double d = difference(output, golden_array(name, output.name));
      MESSAGE(std::string(name) << " " << output.name << ": " << d);
      CHECK(d < 2e-4);
    }
  }
}

TEST_CASE("int8 models are near the float32 ones") {
  for (const char* name : kCases) {
    const auto outputs = take(run_arrays(convert_golden(name, "int8"), {golden_array(name, "image")}, {}));
    const double d = difference(outputs[0], golden_array(name, "logits"));
    MESSAGE(std::string(name) << ": " << d);
    CHECK(d < 0.2);
  }
}

TEST_CASE("int8 results depend on neither threads, batches nor kernel sets") {
  for (const char* name : kCases) {
    const auto model = convert_golden(name, "int8");
    const std::vector<float> images = some_images(*model, 3);
    const Outputs expected = run(*network(model, {1, 1}), images);
    auto check = [&](const ClassifierOptions& options, const char* isa) {
      const Outputs got = run(*network(model, options, isa), images);
      INFO(name << ", " << isa << ", " << options.threads << " threads, batches of " << options.max_batch);
      CHECK(same_bits(got.logits, expected.logits));
      for (size_t s = 0; s < got.stages.size(); ++s) CHECK(same_bits(got.stages[s], expected.stages[s]));
    };
    for (size_t threads : {1, 2}) {
      for (size_t batch : {2, 3}) check({threads, batch}, "");
    }
    const Kernels* const* sets;
    const size_t count = available_kernels(&sets);
    for (size_t i = 1; i < count; ++i) check({2, 3}, sets[i]->isa);
  }
}

TEST_CASE("options and inputs are checked") {
  const auto model = convert_golden(kCases[0], "int8");
  const auto backend = std::shared_ptr<Backend>(take(Backend::create("cpu", "")));
  CHECK(VisionNetwork::create(model, backend, {1, 0}).status().code() == Error::kArgument);
  CHECK(VisionNetwork::create(model, backend, {0, 1}).status().code() == Error::kArgument);
  CHECK(VisionNetwork::create(convert_golden("lm-preln-rank2", "int8"), backend, {}).status().code() ==
        Error::kArgument);
  CHECK(take(VisionNetwork::plan(*model, *backend, {1, 2})) >
        take(VisionNetwork::plan(*model, *backend, {1, 1})));
  const Array wrong = make_array("image", DataType::kFloat32, {1, 3, 20, 20});
  CHECK(run_arrays(model, {wrong}, {}).status().code() == Error::kArgument);
}
