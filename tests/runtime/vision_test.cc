// Vision transformers: the goldens, batches, threads, kernel sets, windows of every kind.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "kernels/dispatch.h"
#include "runtime/classify/vision_network.h"
#include "tests/support/allocations.h"
#include "tests/support/backends.h"
#include "tests/support/goldens.h"
#include "tests/support/tiny_models.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

// Of an output, relative to its largest value. Measured: at most 8.0e-7.
constexpr float kFloatBound = 2.5e-6f;

std::unique_ptr<VisionNetwork> network(const std::shared_ptr<const Model>& model,
                                       ClassifierOptions options = {}, const std::string& isa = "") {
  return take(VisionNetwork::create(cpu(model, isa), options));
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

// Largest difference, relative to the largest expected value.
float relative_difference(const Array& got, const Array& expected) {
  const std::vector<float> zeros(expected.elements());
  return difference(got, expected) / largest_difference(expected.floats(), zeros.data(), zeros.size());
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("float32 models agree with the authors' implementation, stage by stage") {
  for (const std::string& name : golden_names("vil")) {
    const auto model = convert_golden(name, "float32");
    ArrayOptions options;
    options.intermediate = true;
    options.threads = 2;
    const auto outputs = take(run_arrays(cpu(model), {golden_array(name, "image")}, options));
    REQUIRE(outputs.size() == 1 + model->stages.size());
    for (const Array& output : outputs) {
      if (!has_golden_array(name, output.name)) continue;  // a stage
      const float d = relative_difference(output, golden_array(name, output.name));
      MESSAGE(name << " " << output.name << ": " << d);
      CHECK(d <= kFloatBound);
    }
  }
}

TEST_CASE("int8 models are near the float32 ones") {
  for (const std::string& name : golden_names("vil")) {
    const auto outputs =
        take(run_arrays(cpu(convert_golden(name, "int8")), {golden_array(name, "image")}, {}));
    const float d = relative_difference(outputs[0], golden_array(name, "logits"));
    MESSAGE(name << ": " << d);
    CHECK(d < 0.07);  // measured: at most 0.036
  }
}

TEST_CASE("int8 results depend on neither threads, batches nor kernel sets") {
  for (const std::string& name : golden_names("vil")) {
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
  const auto model = convert_golden("vil-4stage", "int8");
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
    const VisionLayout layout = VisionLayout::windows(s.grid, s.cls, s.window, reach);
    const LayoutTables tables = layout.tables();
    const std::vector<float> biases = relative_biases(mixer, layout);
    CHECK(tables.query_rows.size() == layout.query_row_count());
    CHECK(tables.key_rows.size() == layout.key_row_count());
    CHECK(tables.bias_offsets.size() == layout.bias_offset_count());
    CHECK(biases.size() == kHeads * layout.bias_floats());
    INFO("window " << s.window << " of " << s.grid);

    std::vector<size_t> seen(layout.rows());
    for (size_t q = 0; q < layout.groups * layout.group_queries; ++q) {
      if (tables.query_rows[q] < 0) continue;
      ++seen[tables.query_rows[q]];
      const int64_t f = s.window, i = tables.query_rows[q] - s.cls, y = i / n, x = i % n;
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
        const int32_t key = tables.key_rows[q / layout.group_queries * layout.group_keys + k];
        const size_t run = q % layout.group_queries * layout.runs() + k / layout.span;
        const float* head = &biases[layout.bias_floats()];  // head 1
        if (key >= 0) got[key] = head[tables.bias_offsets[run] + k % layout.span];
      }
      CHECK(got == expected);
    }
    for (size_t row = s.cls; row < seen.size(); ++row) CHECK(seen[row] == 1);
  }
}

// What a file of a few kilobytes may ask for is counted, not built.
TEST_CASE("memory beyond the budget is refused before it is allocated") {
  VilParameters p = tiny_vil_parameters();
  p.stages = take(parse_vil_architecture("l1,h2,d16,n2,s1,g0,p1,f1,a0,r2"));
  p.size = p.resize = 10922;
  const auto large = take(
      Model::load_bytes(tiny_model(plan_vil(p, WeightSource()), Precision::kInt8, {}, {}), "large.lsrt"));
  CHECK(large->file_bytes() < 1 << 20);
  CHECK(take(VisionNetwork::plan(*cpu(large), {})) > size_t{4} << 30);
  const Status status = VisionNetwork::create(cpu(large), {}).status();
  CHECK(status.code() == Error::kMemory);
  CHECK(status.message().find("more than the 4294967296 that max_bytes allows") != std::string::npos);
  const auto backend = cpu(convert_golden("vil-4stage", "int8"));
  ClassifierOptions options;
  options.max_bytes = take(VisionNetwork::plan(*backend, options));
  CHECK(VisionNetwork::create(backend, options).ok());
  --options.max_bytes;
  CHECK(VisionNetwork::create(backend, options).status().code() == Error::kMemory);
}

TEST_CASE("options and inputs are checked") {
  const auto model = convert_golden("vil-3stage-odd-window-ape", "int8");
  const auto backend = cpu(model);
  CHECK(VisionNetwork::create(backend, {1, 0}).status().code() == Error::kArgument);
  CHECK(VisionNetwork::create(backend, {0, 1}).status().code() == Error::kArgument);
  CHECK(VisionNetwork::create(cpu(convert_golden("lm-preln-rank2", "int8")), {}).status().code() ==
        Error::kArgument);
  CHECK(take(VisionNetwork::plan(*backend, {1, 2})) > take(VisionNetwork::plan(*backend, {1, 1})));
  const Array wrong = make_array("image", DataType::kFloat32, {1, 3, 20, 20});
  CHECK(run_arrays(cpu(model), {wrong}, {}).status().code() == Error::kArgument);
}
