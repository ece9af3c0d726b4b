// Selective state space models (Mamba): the public code's goldens, and streams of constant state.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>

#include "kernels/dispatch.h"
#include "tests/support/backends.h"
#include "tests/support/editable_model.h"
#include "tests/support/goldens.h"
#include "tests/support/streams.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

// Of log-probabilities down to -13.7, as spec mamba allows: the goldens' own rounding alone is 5.2e-5, by the
// formulas in double precision. Measured: 5.2e-5 with XNNPACK, 1.2e-4 by plain loops.
constexpr float kFloatBound = 2e-4f;

const char* const kPrecisions[] = {"int8", "float32"};

std::unique_ptr<Session> session(const std::shared_ptr<const Model>& model, CausalOptions options = {},
                                 const std::string& isa = "") {
  return take(Session::create(cpu(model, isa), options));
}

// All log-probabilities, fed in pieces of this many tokens.
std::vector<float> fed(Session& s, const std::vector<int32_t>& tokens, size_t piece) {
  std::vector<float> out(tokens.size() * s.vocabulary());
  feed(s, tokens.data(), tokens.size(), piece, out.data());
  return out;
}

bool same_bits(const float* a, const float* b, size_t n) { return std::memcmp(a, b, n * sizeof *a) == 0; }

TEST_CASE("float models equal the public code") {
  for (const std::string& name : golden_names("mamba")) {
    auto model = convert_golden(name, "float32");
    ArrayOptions options;
    options.threads = 2;
    const auto outputs = take(run_arrays(cpu(model), {golden_array(name, "tokens")}, options));
    const float worst = difference(outputs[0], golden_array(name, "logprobs"));
    MESSAGE(name << ": " << worst);
    CHECK(worst <= kFloatBound);
  }
}

TEST_CASE("int8 results depend on neither kernel set, threads, batches nor splits") {
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  for (const std::string& name : golden_names("mamba")) {
    CAPTURE(name);
    auto model = convert_golden(name, "int8");
    const auto tokens = some_tokens(300, model->vocabulary.size());
    const auto expected = fed(*session(model, {}, "scalar"), tokens, tokens.size());
    for (size_t i = 0; i < count; ++i) {
      for (const size_t max_rows : {0, 1, 7, 1000}) {
        CAPTURE(sets[i]->isa);
        CAPTURE(max_rows);
        CausalOptions options;
        options.max_rows = max_rows, options.threads = 1 + max_rows % 3;
        const auto got = fed(*session(model, options, sets[i]->isa), tokens, max_rows % 2 ? 41 : 300);
        CHECK(same_bits(expected.data(), got.data(), got.size()));
      }
    }
  }
}

TEST_CASE("int8 stays near float") {
  for (const std::string& name : golden_names("mamba")) {
    const auto exact = convert_golden(name, "float32"), rounded = convert_golden(name, "int8");
    const auto tokens = some_tokens(150, exact->vocabulary.size());
    const auto a = fed(*session(exact), tokens, 150), b = fed(*session(rounded), tokens, 150);
    double error = 0;
    for (size_t i = 0; i < a.size(); ++i) error += std::fabs(a[i] - b[i]) / static_cast<double>(a.size());
    MESSAGE(name << ": mean |difference| of log-probabilities " << error);
    CHECK(error < 0.25);  // measured: at most 0.19. The weights are random and large; trained ones tell more
  }
}

// At 1, K - 2, K - 1 and K tokens the rows before the convolution are those of the stream and of nothing.
TEST_CASE("a loaded stream goes on with the same bits, wherever it was saved") {
  for (const std::string& name : golden_names("mamba")) {
    for (const char* precision : kPrecisions) {
      CAPTURE(name);
      CAPTURE(std::string(precision));
      auto model = convert_golden(name, precision);
      const auto tokens = some_tokens(200, model->vocabulary.size());
      const size_t vocabulary = model->vocabulary.size();
      auto source = session(model);
      const auto all = fed(*source, tokens, 1);
      source->reset();
      size_t bytes = 0;
      for (const size_t offset : {0, 1, 2, 3, 4, 5, 17, 63, 64, 160}) {
        CAPTURE(offset);
        feed(*source, tokens.data() + source->position(), offset - source->position(), 1);
        const auto saved = saved_bytes(*source);
        if (bytes == 0) bytes = saved.size();
        CHECK(saved.size() == bytes);
        CausalOptions other;
        other.max_rows = 3;
        auto target = session(model, other, "scalar");
        feed(*target, tokens.data(), 9, 9);
        REQUIRE(target->load(saved.data(), saved.size(), "state", nullptr).ok());
        CHECK(target->position() == offset);
        CHECK(saved_bytes(*target) == saved);
        std::vector<float> got(40 * vocabulary);
        const size_t piece =
            model->is_int8() ? 40 : 1;  // float sums depend on rows that are computed together
        feed(*target, tokens.data() + offset, 40, piece, got.data());
        const float* expected = all.data() + offset * vocabulary;
        if (model->is_int8()) {
          CHECK(same_bits(got.data(), expected, got.size()));
        } else {
          CHECK(largest_difference(got.data(), expected, got.size()) < 2e-5f);
        }
      }
    }
  }
}

TEST_CASE("the state has one size, which depends on no option") {
  auto model = convert_golden("mamba1-hf", "int8");
  const auto& mixer = std::get<SelectiveScan>(model->stages[0].blocks[0].mixer);
  const size_t floats = 3u * mixer.inner * (mixer.states + mixer.taps - 1);
  CausalOptions options;
  const auto plan = take(CausalNetwork::plan(*cpu(model), options));
  CHECK(plan.exchange_bytes == floats * sizeof(float));
  CHECK(plan.state_bytes >= floats * sizeof(float));
  CHECK(plan.state_bytes < floats * sizeof(float) + 3 * 128);
  CHECK(plan.positions_bytes == 0);
  options.max_rows = 5000;  // of one step: nothing bounds them but memory
  CHECK(take(CausalNetwork::plan(*cpu(model), options)).state_bytes == plan.state_bytes);
  const auto s = session(model, options);
  const auto tokens = some_tokens(5000, model->vocabulary.size());
  const auto whole = fed(*s, tokens, 5000), pieces = fed(*session(model), tokens, 999);
  CHECK(same_bits(whole.data(), pieces.data(), whole.size()));
  CHECK(s->block() == 0);
  options = {};
  options.block = 64;
  CHECK(Session::create(cpu(model), options).status().message().find("do not apply") != std::string::npos);
  options.block = 0, options.memory = 64;
  CHECK(Session::create(cpu(model), options).status().code() == Error::kArgument);
}

// Bytes b are tokens b + 1 of this checkpoint.
TEST_CASE("int8 costs a trained model at most 0.002 bits per byte") {
  const std::string checkpoint = shared_path("checkpoints/books-mamba");
  const std::string text = read_file(shared_path("data/books/moby-dick.txt")).substr(0, 12000);
  if (std::getenv("LSRT_MODELS")) {
    MESSAGE("skipped: a trained model takes ten minutes here, emulated or watched");
    return;
  }
  if (!std::filesystem::exists(checkpoint) || text.empty()) {
    MESSAGE("skipped: no " << checkpoint);
    return;
  }
  const std::vector<int32_t> tokens = [&] {
    std::vector<int32_t> all;
    for (const char c : text) all.push_back(static_cast<uint8_t>(c) + 1);
    return all;
  }();
  double bits[2] = {0, 0};
  for (size_t i = 0; i < 2; ++i) {
    ConvertOptions options;
    options.precision = i == 0 ? Precision::kFloat32 : Precision::kInt8;
    const auto model = convert_checkpoint(checkpoint, options);
    const auto logprobs = fed(*session(model), tokens, 3000);
    for (size_t t = 1; t < tokens.size(); ++t) {
      bits[i] -= double{logprobs[(t - 1) * model->vocabulary.size() + static_cast<size_t>(tokens[t])]} /
                 std::log(2.0) / static_cast<double>(tokens.size() - 1);
    }
  }
  MESSAGE("bits per byte: float " << bits[0] << ", int8 " << bits[1]);
  CHECK(bits[0] > 1.5);  // measured: 1.879
  CHECK(bits[0] < 2.1);
  CHECK(std::fabs(bits[1] - bits[0]) < 0.002);  // measured: 0.0003
}

TEST_CASE("reset forgets the stream") {
  auto model = convert_golden("falcon-mamba-hf", "int8");
  const auto tokens = some_tokens(70, model->vocabulary.size());
  auto s = session(model);
  const auto first = fed(*s, tokens, 70);
  s->reset();
  const auto again = fed(*s, tokens, 70);
  CHECK(same_bits(first.data(), again.data(), first.size()));
}

ModelBytes tiny_mamba(Precision precision) {
  MambaParameters p;
  p.layers = 2, p.d = 8, p.inner = 16, p.states = 4, p.taps = 3, p.rank = 2;
  p.vocabulary_size = 10;
  TinyOptions options;
  options.force_defaults = true;
  return tiny_model(plan_mamba(p, WeightSource()), precision, options, {});
}

TEST_CASE("model files that are wrong are refused by name") {
  using Scan = fb::SelectiveScan;
  const Editable good{tiny_mamba(Precision::kInt8)};
  REQUIRE(load(good.bytes).ok());
  const auto refused = [&](const char* text, auto change) {
    Editable model = good;
    change(model, *model.block()->mixer_as_SelectiveScan());
    check_refused(model.bytes, Error::kModel, text);
  };
  const auto shape = [](const fb::Tensor* tensor, size_t axis, uint32_t extent) {
    auto* at = const_cast<uint8_t*>(tensor->shape()->Data()) + axis * sizeof extent;
    std::memcpy(at, &extent, sizeof extent);
  };
  refused("a: 256 bytes, but the shape needs 512", [&](Editable&, auto& m) { shape(m.a(), 0, 8); });
  refused("a: shape [0, 16]", [&](Editable&, auto& m) { shape(m.a(), 0, 0); });
  refused("in.weight: shape", [&](Editable&, auto& m) { shape(m.in()->weight(), 0, 31); });
  refused("convolution: shape", [&](Editable&, auto& m) { shape(m.convolution(), 1, 15); });
  refused("step.weight: shape", [&](Editable&, auto& m) { shape(m.step()->weight(), 0, 17); });
  refused("parameters.weight: shape", [&](Editable&, auto& m) { shape(m.parameters()->weight(), 0, 11); });
  refused("d: shape", [&](Editable&, auto& m) { shape(m.d(), 0, 15); });
  refused("out.weight: shape", [&](Editable&, auto& m) { shape(m.out()->weight(), 1, 12); });
  for (const float eps : {-1e-6f, 1.0f, std::numeric_limits<float>::quiet_NaN()}) {
    refused("parameter_eps", [&](Editable& f, auto& m) { f.set(&m, Scan::VT_PARAMETER_EPS, eps); });
  }
  refused("norm1.kind: 2 is not in 0 .. 1",
          [](Editable& f, auto&) { f.set<uint8_t>(f.block()->norm1(), fb::Norm::VT_KIND, 2); });
  refused("norm1.beta: is missing",
          [](Editable& f, auto&) { f.set<uint8_t>(f.block()->norm1(), fb::Norm::VT_KIND, 0); });
  refused("stream: is missing", [](Editable& f, auto&) { f.set(f.root(), fb::Model::VT_FORMAT, 1u); });
}

TEST_CASE("files of a Mamba-2 that are wrong are refused by name") {
  using Dual = fb::StateSpaceDual;
  MambaParameters p;
  p.layers = 1, p.d = 8, p.inner = 24, p.states = 5, p.taps = 3, p.heads = 4, p.groups = 2;
  p.vocabulary_size = 10;
  TinyOptions options;
  options.force_defaults = true;
  const Editable good{tiny_model(plan_mamba(p, WeightSource()), Precision::kInt8, options, {})};
  REQUIRE(load(good.bytes).ok());
  const auto refused = [&](const char* text, auto change) {
    Editable model = good;
    change(model, *model.block()->mixer_as_StateSpaceDual());
    check_refused(model.bytes, Error::kModel, text);
  };
  for (const uint32_t heads : {0u, 25u}) {
    refused("heads: ", [&](Editable& f, auto& m) { f.set(&m, Dual::VT_HEADS, heads); });
  }
  refused("heads: 5 do not divide 24", [](Editable& f, auto& m) { f.set(&m, Dual::VT_HEADS, 5u); });
  refused("groups: 0 is not in", [](Editable& f, auto& m) { f.set(&m, Dual::VT_GROUPS, 0u); });
  refused("3 groups do not divide", [](Editable& f, auto& m) { f.set(&m, Dual::VT_GROUPS, 3u); });
  refused("convolution: 44 channels, expected 24 and a multiple of 8",
          [](Editable& f, auto& m) { f.set(&m, Dual::VT_GROUPS, 4u); });
  refused("in.weight: shape", [](Editable& f, auto& m) { f.set(&m, Dual::VT_HEADS, 6u); });
  refused("norm.beta: is missing",
          [](Editable& f, auto& m) { f.set<uint8_t>(m.norm(), fb::Norm::VT_KIND, 0); });
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const auto& [low, high] : {std::pair{1.0f, 0.5f}, {-1.0f, 1.0f}, {nan, 1.0f}, {0.0f, nan}}) {
    refused("step_min, step_max", [&, low = low, high = high](Editable& f, auto& m) {
      f.set(&m, Dual::VT_STEP_MIN, low), f.set(&m, Dual::VT_STEP_MAX, high);
    });
  }
}

}  // namespace
