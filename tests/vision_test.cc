// Vision transformers: the goldens, batches, threads, kernel sets, windows of every kind.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/dispatch.h"
#include "runtime/vision_network.h"
#include "tests/allocations.h"
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

#ifdef LSRT_COUNT_ALLOCATIONS
TEST_CASE("running an int8 model allocates nothing") {
  const auto model = convert_golden(kCases[1], "int8");
  const auto net = network(model, {2, 2});
  const std::vector<float> images = some_images(*model, 3);
  std::vector<float> logits(3 * net->classes());
  REQUIRE(net->run(images.data(), 3, logits.data()).ok());
  const size_t before = allocations;
  const bool ok = net->run(images.data(), 3, logits.data()).ok();
  const size_t after = allocations;
  CHECK(ok);
  CHECK(after == before);
}
#endif

TEST_CASE("windows see their group and its surroundings, with the bias of the distance") {
  struct Shape {
    size_t grid, cls, window;
  };
  for (Shape s : {Shape{6, 1, 2}, {7, 0, 3}, {9, 1, 4}, {14, 1, 7}, {5, 1, 5}, {4, 1, 7}, {5, 0, 1}}) {
    const size_t reach = std::max<size_t>(s.window / 2, 1), farthest = s.window - 1 + reach,
                 side = 2 * farthest + 1;
    const int64_t n = s.grid;
    constexpr size_t kHeads = 2;
    std::vector<float> table(side * side * kHeads);
    for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i);
    VisionLongShort mixer;
    mixer.heads = kHeads, mixer.window = s.window, mixer.relative_bias = table.data();
    const VisionLayout layout(s.grid, s.cls, s.window);
    const std::vector<float> biases = relative_biases(mixer, layout);
    INFO("window " << s.window << " of " << s.grid);

    std::vector<size_t> seen(layout.rows());
    for (size_t q = 0; q < layout.groups * layout.group_queries; ++q) {
      if (layout.query_rows[q] < 0) continue;
      ++seen[layout.query_rows[q]];
      const int64_t f = s.window, i = layout.query_rows[q] - s.cls, y = i / n, x = i % n;
      // [row of the key] = bias of head 1, for keys that the query should see.
      std::vector<float> expected(layout.rows(), -1), got(layout.rows(), -1);
      for (int64_t v = y / f * f - reach; v < y / f * f + f + static_cast<int64_t>(reach); ++v) {
        for (int64_t u = x / f * f - reach; u < x / f * f + f + static_cast<int64_t>(reach); ++u) {
          if (v < 0 || v >= n || u < 0 || u >= n) continue;
          expected[s.cls + v * n + u] = table[((y - v + farthest) * side + x - u + farthest) * kHeads + 1];
        }
      }
      if (s.cls) expected[0] = 0;
      for (size_t k = 0; k < layout.group_keys; ++k) {
        const int32_t key = layout.key_rows[q / layout.group_queries * layout.group_keys + k];
        const size_t run = q % layout.group_queries * (layout.span + s.cls) + k / layout.span;
        const float* head = &biases[layout.bias_floats()];  // head 1
        if (key >= 0) got[key] = head[layout.bias_offsets[run] + k % layout.span];
      }
      CHECK(got == expected);
    }
    for (size_t row = s.cls; row < seen.size(); ++row) CHECK(seen[row] == 1);
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
