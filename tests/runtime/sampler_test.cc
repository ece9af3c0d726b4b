// The sampler: filters, ties, repeatability; and the tokenizer.
#include "runtime/text/sampler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/exact_math.h"
#include "runtime/text/tokenizer.h"

using namespace lsrt;

namespace {

const std::vector<std::string> kVocabulary = {"", "a", "b", "c", "d", ""};

std::vector<float> logs(const std::vector<double>& probabilities) {
  std::vector<float> out;
  for (double p : probabilities) out.push_back(static_cast<float>(std::log(p)));
  return out;
}

// Id 0 has no text and is the most probable.
const std::vector<float> kLogprobs = logs({0.5, 0.04, 0.2, 0.2, 0.05, 0.01});

Sampler make(const SamplerParams& params) {
  auto sampler = Sampler::create(kVocabulary, params);
  REQUIRE(sampler.ok());
  return sampler.take();
}

std::map<int32_t, int> draw(const SamplerParams& params, int n,
                            const std::vector<float>& logprobs = kLogprobs) {
  Sampler sampler = make(params);
  std::map<int32_t, int> counts;
  for (int i = 0; i < n; ++i) ++counts[sampler.sample(logprobs.data()).value()];
  return counts;
}

SamplerParams with(void (*change)(SamplerParams*)) {
  SamplerParams params;
  params.temperature = 1;
  change(&params);
  return params;
}

using Counts = std::map<int32_t, int>;

}  // namespace

TEST_CASE("greedy takes the most probable id with text, of equal ones the lowest") {
  CHECK(draw(with([](SamplerParams* p) { p->temperature = 0; }), 5) == Counts{{2, 5}});
}

TEST_CASE("draws follow the probabilities") {
  const Counts counts = draw(with([](SamplerParams* p) { p->seed = 3; }), 49000);
  CHECK(counts.size() == 4);
  CHECK(counts.at(1) == doctest::Approx(4000).epsilon(0.1));
  CHECK(counts.at(2) == doctest::Approx(20000).epsilon(0.03));
  CHECK(counts.at(3) == doctest::Approx(20000).epsilon(0.03));
  CHECK(counts.at(4) == doctest::Approx(5000).epsilon(0.1));
}

TEST_CASE("filters") {
  CHECK(draw(with([](SamplerParams* p) { p->top_k = 1; }), 50) == Counts{{2, 50}});
  CHECK(draw(with([](SamplerParams* p) { p->top_k = 2; }), 500).size() == 2);
  CHECK(draw(with([](SamplerParams* p) { p->top_k = 3; }), 500).count(1) == 0);
  // Of the 0.49 with text, 0.2 are 41 %, 0.4 are 82 %.
  CHECK(draw(with([](SamplerParams* p) { p->top_p = 0.4f; }), 50).size() == 1);
  CHECK(draw(with([](SamplerParams* p) { p->top_p = 0.42f; }), 500).size() == 2);
  CHECK(draw(with([](SamplerParams* p) { p->top_p = 0.83f; }), 500).size() == 3);
  CHECK(draw(with([](SamplerParams* p) { p->min_p = 0.24f; }), 500).size() == 3);
  CHECK(draw(with([](SamplerParams* p) { p->min_p = 1; }), 500).size() == 2);
  CHECK(draw(with([](SamplerParams* p) { p->temperature = 0.01f; }), 500).size() == 2);
}

TEST_CASE("repetition makes the tokens of the window less probable") {
  SamplerParams params =
      with([](SamplerParams* p) { p->temperature = 0, p->repeat_penalty = 10, p->repeat_window = 2; });
  Sampler sampler = make(params);
  std::vector<int32_t> chosen;
  for (int i = 0; i < 6; ++i) chosen.push_back(sampler.sample(kLogprobs.data()).value());
  CHECK(chosen == std::vector<int32_t>{2, 3, 4, 2, 3, 4});
  CHECK(sampler.last() == 4);
  Sampler told = make(params);
  told.accept(2);
  told.accept(99);  // no such id
  CHECK(told.sample(kLogprobs.data()).value() == 3);
}

TEST_CASE("the same seed gives the same tokens on every machine") {
  const std::vector<int32_t> expected = {2, 2, 3, 1, 1, 3, 3, 4, 3, 3, 3, 2,
                                         3, 2, 3, 4, 3, 4, 3, 3, 2, 2, 3, 3};
  Sampler sampler = make(with([](SamplerParams* p) { p->seed = 42; }));
  std::vector<int32_t> chosen;
  for (size_t i = 0; i < expected.size(); ++i) chosen.push_back(sampler.sample(kLogprobs.data()).value());
  CHECK(chosen == expected);
}

TEST_CASE("of a large vocabulary the choices are those that sorting all of it gives") {
  constexpr int32_t kTokens = 5000;
  std::mt19937 random(3);
  std::vector<float> logprobs(kTokens);
  for (float& x : logprobs) x = -0.01f * static_cast<float>(random() % 1000);  // many are equal
  const std::vector<std::string> vocabulary(kTokens, "x");
  for (const uint32_t top_k : {0u, 1u, 70u, 4000u}) {
    for (const float top_p : {1.0f, 0.9f, 0.05f}) {
      for (const float min_p : {0.0f, 0.3f}) {
        SamplerParams params;
        params.temperature = 0.7f, params.top_k = top_k, params.top_p = top_p, params.min_p = min_p,
        params.seed = 5;
        // All of them in order; the best weighs 2^40.
        std::vector<std::pair<double, int32_t>> order;
        for (int32_t id = 0; id < kTokens; ++id) order.push_back({-double{logprobs[id]}, id});
        std::sort(order.begin(), order.end());
        if (top_k) order.resize(top_k);
        std::vector<double> weights;
        double total = 0, sum = 0;
        for (const auto& [minus, id] : order) {
          weights.push_back(
              std::floor(exact_exp((order[0].first - minus) / params.temperature) * 0x1p40 + 0.5));
          total += weights.back();
        }
        size_t n = 0;
        while (n < weights.size() && sum < top_p * total && (n == 0 || weights[n] >= min_p * 0x1p40))
          sum += weights[n++];

        auto sampler = Sampler::create(vocabulary, params).take();
        for (int i = 0; i < 50; ++i) {
          // What xoshiro256** gives next.
          const uint64_t five = sampler.state().random[1] * 5, next = ((five << 7) | (five >> 57)) * 9;
          double left = std::floor(static_cast<double>(next >> 11) * 0x1p-53 * sum);
          size_t at = 0;
          while (at + 1 < n && left >= weights[at]) left -= weights[at++];
          REQUIRE(sampler.sample(logprobs.data()).value() == order[at].second);
        }
      }
    }
  }
}

TEST_CASE("a restored sampler goes on exactly") {
  SamplerParams params = with([](SamplerParams* p) { p->repeat_penalty = 1.5f, p->repeat_window = 3; });
  Sampler one = make(params);
  for (int i = 0; i < 10; ++i) REQUIRE(one.sample(kLogprobs.data()).ok());
  params.seed = 77;
  Sampler other = make(params);
  REQUIRE(other.restore(one.state()).ok());
  for (int i = 0; i < 50; ++i)
    CHECK(one.sample(kLogprobs.data()).value() == other.sample(kLogprobs.data()).value());
}

TEST_CASE("states that no sampler of the vocabulary can have are refused and change nothing") {
  SamplerParams params = with([](SamplerParams* p) { p->repeat_penalty = 2, p->repeat_window = 4; });
  Sampler sampler = make(params);
  sampler.accept(3);
  const SamplerState before = sampler.state();
  const auto refused = [&](void (*change)(SamplerState*)) {
    SamplerState state = before;
    change(&state);
    const bool error = sampler.restore(state).code() == Error::kArgument;
    return error && sampler.last() == 3 && sampler.state().recent == before.recent &&
           std::equal(before.random, before.random + 4, sampler.state().random);
  };
  CHECK(refused([](SamplerState* s) { std::fill_n(s->random, 4, 0); }));
  CHECK(refused([](SamplerState* s) { s->last = 6; }));
  CHECK(refused([](SamplerState* s) { s->last = -2; }));
  CHECK(refused([](SamplerState* s) { s->recent.push_back(6); }));
  CHECK(refused([](SamplerState* s) { s->recent.push_back(-1); }));
  SamplerState longer = before;
  longer.recent = {1, 2, 3, 4, 1, 2};
  longer.last = -1;
  REQUIRE(sampler.restore(longer).ok());
  CHECK(sampler.state().recent == std::vector<int32_t>{3, 4, 1, 2});
}

TEST_CASE("the sampler's exponential is the same everywhere and right") {
  CHECK(exact_exp(0) == 1);
  for (const double x :
       {-701.0, -1e300, -std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    CHECK(exact_exp(x) == 0);
  }
  double worst = 0;
  for (double x = 0; x > -700; x -= 0.0137) {
    worst = std::max(worst, std::fabs(exact_exp(x) / std::exp(x) - 1));
  }
  MESSAGE("largest relative error of exact_exp: " << worst);
  CHECK(worst < 5e-16);
  // Bits, so that a change of the operations or of how they are compiled is seen.
  CHECK(exact_exp(-1) == 0x1.78b56362cef38p-2);
  CHECK(exact_exp(-123.456) == 0x1.da9fb9e4ee72p-179);
}

TEST_CASE("exponentials of many numbers have the bits of single ones") {
  std::vector<double> x = {-701,
                           -700,
                           -699.99,
                           -1e300,
                           0,
                           -0.0,
                           1e-300,
                           700,
                           701,
                           1e300,
                           std::numeric_limits<double>::infinity(),
                           -std::numeric_limits<double>::infinity(),
                           std::numeric_limits<double>::quiet_NaN()};
  std::mt19937_64 random(4);
  while (x.size() < 10007) x.push_back(std::ldexp(static_cast<double>(random() >> 11), -44) - 500);
  std::vector<double> many = x;
  exact_exp(many.data(), many.size());
  for (double& value : x) value = exact_exp(value);
  CHECK(std::memcmp(many.data(), x.data(), x.size() * sizeof(double)) == 0);
}

TEST_CASE("extreme parameters and log-probabilities have defined results") {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  // So cold that only the best remain: of equal ones each.
  for (const float temperature : {1e-30f, 1e-45f}) {
    SamplerParams params;
    params.temperature = temperature;
    const Counts counts = draw(params, 200);
    CHECK(counts.size() == 2);
    CHECK(counts.count(2) + counts.count(3) == 2);
  }
  SamplerParams hot;
  hot.temperature = 3e38f;
  CHECK(draw(hot, 500).size() == 4);
  SamplerParams narrow;
  narrow.top_p = 1e-38f;
  CHECK(draw(narrow, 50) == Counts{{2, 50}});
  // What is no number is never chosen, greedily or not.
  const std::vector<float> holes = {0, nan, -infinity, -5, infinity, 0};
  for (const float temperature : {0.0f, 1e-30f, 1.0f}) {
    SamplerParams params;
    params.temperature = temperature;
    CHECK(draw(params, 50, holes) == Counts{{3, 50}});
  }
  SamplerParams penalized;
  penalized.repeat_penalty = 3e38f;
  CHECK(draw(penalized, 50, std::vector<float>(6, -3e38f)).size() > 1);
}

TEST_CASE("wrong parameters and log-probabilities are refused") {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  auto refused = [](const SamplerParams& p) {
    return Sampler::create(kVocabulary, p).status().code() == Error::kArgument;
  };
  for (float t : {-1.0f, nan, infinity}) {
    SamplerParams p;
    p.temperature = t;
    CHECK(refused(p));
  }
  CHECK(refused(with([](SamplerParams* p) { p->top_p = 0; })));
  CHECK(refused(with([](SamplerParams* p) { p->top_p = 1.5f; })));
  CHECK(refused(with([](SamplerParams* p) { p->min_p = -0.1f; })));
  CHECK(refused(with([](SamplerParams* p) { p->repeat_penalty = 0; })));
  CHECK(refused(with([](SamplerParams* p) { p->repeat_window = kMaxRepeatWindow + 1; })));
  CHECK(Sampler::create({"", ""}, {}).status().code() == Error::kArgument);
  Sampler sampler = make({});
  CHECK(!sampler.sample(std::vector<float>(6, nan).data()).ok());
  CHECK(draw({}, 50, {0, nan, -infinity, -5, nan, 0}) == Counts{{3, 50}});
}

TEST_CASE("the longest text is taken, bytes without a token are not") {
  const std::vector<std::string> vocabulary = {"", "a", "b", "ab", "abcd", "a", std::string("\0", 1)};
  const Tokenizer tokenizer(vocabulary);
  auto tokens = [&](std::string_view text) {
    std::vector<int32_t> ids;
    while (!text.empty()) {
      ids.push_back(tokenizer.next(&text));
      if (ids.back() < 0) break;
    }
    return ids;
  };
  CHECK(tokens("abcdabb") == std::vector<int32_t>{4, 3, 2});
  CHECK(tokens("aab") == std::vector<int32_t>{1, 3});
  CHECK(tokens(std::string_view("a\0", 2)) == std::vector<int32_t>{1, 6});
  CHECK(tokens("abc") == std::vector<int32_t>{3, -1});
  CHECK(tokens("").empty());
}
