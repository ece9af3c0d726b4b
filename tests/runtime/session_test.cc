// Streams of causal language models: the goldens, splits, threads, kernel sets, memory.
#include "runtime/text/session.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>

#include "kernels/dispatch.h"
#include "runtime/lsrt.h"
#include "tests/support/allocations.h"
#include "tests/support/backends.h"
#include "tests/support/goldens.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

// Of log-probabilities. Measured: at most 1.24e-5.
constexpr float kFloatBound = 3e-5f;

std::unique_ptr<Session> session(const std::shared_ptr<const Model>& model, CausalOptions options = {},
                                 const std::string& isa = "") {
  return take(Session::create(cpu(model, isa), options));
}

// Ids with text, from a fixed generator.
std::vector<int32_t> some_tokens(const Model& model, size_t n) {
  std::mt19937 random(7);
  std::vector<int32_t> tokens(n);
  for (int32_t& token : tokens) token = random() % model.vocabulary.size();
  return tokens;
}

// All log-probabilities of a stream fed in pieces of the given sizes (the last one repeats).
std::vector<float> feed_in(Session& s, const std::vector<int32_t>& tokens,
                           const std::vector<size_t>& pieces) {
  std::vector<float> out(tokens.size() * s.vocabulary());
  size_t done = 0;
  for (size_t i = 0; done < tokens.size(); ++i) {
    size_t n = std::min(pieces[std::min(i, pieces.size() - 1)], tokens.size() - done);
    REQUIRE(s.feed(tokens.data() + done, n, Session::Output::kAll, out.data() + done * s.vocabulary()).ok());
    done += n;
  }
  return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("float models equal the authors' code for every block and memory length") {
  for (const std::string& name : golden_names("lm")) {
    auto model = convert_golden(name, "float32");
    Array tokens = golden_array(name, "tokens");
    for (const Run& run : golden_runs(name)) {
      ArrayOptions options;
      options.block = run.block, options.memory = run.memory, options.threads = 2;
      Array expected = golden_array(
          name, "logprobs_block" + std::to_string(run.block) + "_mem" + std::to_string(run.memory));
      std::vector<Array> outputs = take(run_arrays(cpu(model), {tokens}, options));
      REQUIRE(outputs.size() == 1);
      const float worst = difference(outputs[0], expected);
      MESSAGE(name << " block " << run.block << " memory " << run.memory << ": " << worst);
      CHECK(worst <= kFloatBound);
    }
  }
}

TEST_CASE("splitting a text into calls changes nothing") {
  for (const std::string& name : golden_names("lm")) {
    for (const char* precision : {"int8", "float32"}) {
      CAPTURE(name);
      CAPTURE(precision);
      auto model = convert_golden(name, precision);
      CausalOptions options;
      options.block = 32, options.memory = 64;
      auto tokens = some_tokens(*model, 203);
      auto whole = feed_in(*session(model, options), tokens, {tokens.size()});
      std::mt19937 random(3);
      std::vector<size_t> pieces(200);
      for (size_t& piece : pieces) piece = 1 + random() % 40;
      CausalOptions narrow = options;
      narrow.max_rows = 5;
      CausalOptions threaded = options;
      threaded.threads = 3;
      const std::vector<std::vector<float>> others = {
          feed_in(*session(model, options), tokens, {1}),
          feed_in(*session(model, options), tokens, pieces),
          feed_in(*session(model, narrow), tokens, {tokens.size()}),
          feed_in(*session(model, threaded), tokens, {tokens.size()}),
      };
      for (size_t i = 0; i < others.size(); ++i) {
        CAPTURE(i);
        if (std::strcmp(precision, "int8") == 0) {
          CHECK(same_bits(whole, others[i]));
        } else {
          // Products of few rows may be summed in another order (XNNPACK). Measured: at most 1.4e-5, on ARM.
          CHECK(difference(whole, others[i]) < kFloatBound);
        }
      }
    }
  }
}

TEST_CASE("int8 models give the same bits on every kernel set") {
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  for (const std::string& name : golden_names("lm")) {
    auto model = convert_golden(name, "int8");
    auto tokens = some_tokens(*model, 150);
    auto scalar = feed_in(*session(model, {}, "scalar"), tokens, {tokens.size()});
    for (size_t i = 0; i < count; ++i) {
      CAPTURE(sets[i]->isa);
      CHECK(same_bits(scalar, feed_in(*session(model, {}, sets[i]->isa), tokens, {37})));
    }
  }
}

TEST_CASE("reset forgets the stream") {
  auto model = convert_golden("lm-preln-rank2", "int8");
  auto tokens = some_tokens(*model, 170);
  auto s = session(model);
  auto first = feed_in(*s, tokens, {tokens.size()});
  CHECK(s->position() == tokens.size());
  s->reset();
  CHECK(s->position() == 0);
  CHECK(same_bits(first, feed_in(*s, tokens, {tokens.size()})));
}

TEST_CASE("int8 stays near float") {
  for (const std::string& name : golden_names("lm")) {
    auto tokens = some_tokens(*convert_golden(name, "int8"), 150);
    auto exact = feed_in(*session(convert_golden(name, "float32")), tokens, {tokens.size()});
    auto rounded = feed_in(*session(convert_golden(name, "int8")), tokens, {tokens.size()});
    double error = 0;
    for (size_t i = 0; i < exact.size(); ++i) error += std::fabs(exact[i] - rounded[i]);
    MESSAGE(name << ": mean |difference| of log-probabilities " << error / exact.size());
    // These goldens have random weights, larger than trained ones: a wrong term shows as a difference of
    // order 1.
    CHECK(error / exact.size() < 0.1);
  }
}

#ifdef LSRT_COUNT_ALLOCATIONS
TEST_CASE("feeding tokens allocates nothing") {
  auto model = convert_golden("lm-preln-rank2", "int8");
  CausalOptions options;
  options.threads = 2;
  auto s = session(model, options);
  auto tokens = some_tokens(*model, 300);
  std::vector<float> out(tokens.size() * s->vocabulary());
  const size_t before = allocations;
  Status status = s->feed(tokens.data(), tokens.size(), Session::Output::kAll, out.data());
  for (int32_t token : tokens) {
    if (status.ok()) status = s->feed(&token, 1, Session::Output::kLast, out.data());
  }
  s->reset();
  const size_t after = allocations;
  REQUIRE(status.ok());
  CHECK(after - before == 0);
}

TEST_CASE("neither does the C API, which asks whether to go on") {
  const TemporaryFolder folder;
  take(convert(golden_checkpoint("lm-preln-rank2"), folder / "m",
               golden_options("lm-preln-rank2", Precision::kInt8)));
  lsrt_model* model = nullptr;
  lsrt_session* stream = nullptr;
  lsrt_sampler* sampler = nullptr;
  REQUIRE(lsrt_model_load((folder / "m").c_str(), nullptr, &model) == LSRT_OK);
  REQUIRE(lsrt_session_create(model, nullptr, &stream) == LSRT_OK);
  REQUIRE(lsrt_sampler_create(model, nullptr, &sampler) == LSRT_OK);
  std::vector<float> logprobs(lsrt_model_vocabulary(model));
  int asked = 0;
  const auto ask = [](size_t, size_t, void* user) { return ++*static_cast<int*>(user) > 0; };
  int32_t token = 5;
  lsrt_status status = LSRT_OK;
  const auto text = [&](int length) {
    for (int i = 0; i < length && status == LSRT_OK; ++i) {
      status = lsrt_session_feed(stream, &token, 1, LSRT_OUTPUT_LAST, logprobs.data(), ask, &asked);
      if (status == LSRT_OK) status = lsrt_sampler_sample(sampler, logprobs.data(), &token);
    }
  };
  text(2);  // the sampler's first draw makes room for the others
  const size_t before = allocations;
  text(200);
  const size_t after = allocations;
  CHECK(status == LSRT_OK);
  CHECK(asked == 202);
  CHECK(after - before == 0);
  lsrt_sampler_free(sampler);
  lsrt_session_free(stream);
  lsrt_model_free(model);
}
#endif

TEST_CASE("the plan is what a session takes") {
  auto model = convert_golden("lm-preln-rank2", "int8");
  auto backend = cpu(model);
  CausalOptions options;
  CausalMemory plan = take(CausalNetwork::plan(*backend, options));
  auto s = take(Session::create(backend, options));
  CHECK(plan.state_bytes == s->memory_use().state_bytes);
  CHECK(plan.scratch_bytes == s->memory_use().scratch_bytes);
  CHECK(plan.positions_bytes == 0);
  options.memory = 4 * s->memory();
  CHECK(take(CausalNetwork::plan(*backend, options)).positions_bytes > 0);
}

TEST_CASE("wrong options and tokens are refused") {
  auto model = convert_golden("lm-preln-rank2", "int8");  // chunk 8, window 16
  auto refused = [&](size_t block, size_t memory, const char* why) {
    CausalOptions options;
    options.block = block, options.memory = memory;
    auto result = Session::create(cpu(model), options);
    REQUIRE(!result.ok());
    CHECK(result.status().code() == Error::kArgument);
    CAPTURE(result.status().message());
    CHECK(result.status().message().find(why) != std::string::npos);
  };
  refused(12, 64, "multiple of the chunk length 8");
  refused(64, 60, "multiple of the chunk length 8");
  refused(64, 8, "at least the window of 16");
  auto s = session(model);
  const int32_t wrong[] = {1, 2, 40};
  Status status = s->feed(wrong, 3, Session::Output::kNone, nullptr);
  CHECK(status.code() == Error::kArgument);
  CHECK(s->position() == 0);
  CHECK(Backend::create({"cpu", "sse9"}, nullptr).status().code() == Error::kArgument);
  CHECK(Backend::create({"abacus", ""}, nullptr).status().code() == Error::kUnsupported);
}
