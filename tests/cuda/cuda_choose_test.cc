// The CUDA kernel that chooses a token chooses the sampler's.
#include <limits>

#include "runtime/text/sampler.h"
#include "tests/cuda/emulated.h"

namespace {

using namespace lsrt_test;
using lsrt::Draw;
using lsrt::Sampler;
using lsrt::SamplerParams;
namespace cuda = lsrt::cuda;

// A vocabulary whose every eleventh id has no text, but for the first.
std::vector<std::string> vocabulary_of(size_t n) {
  std::vector<std::string> vocabulary(n, "x");
  for (size_t id = 11; id < n; id += 11) vocabulary[id].clear();
  return vocabulary;
}

// Where the device has what a choice needs.
struct Chooser {
  const std::vector<std::string> vocabulary;
  DeviceArray<uint8_t> with_text;
  DeviceArray<float> logprobs;
  DeviceArray<int32_t> penalized, token;
  DeviceArray<uint64_t> scratch;

  explicit Chooser(size_t n)
      : vocabulary(vocabulary_of(n)), with_text(n), logprobs(n), penalized(n), token(1), scratch(2 * n) {
    for (size_t id = 0; id < n; ++id) with_text[id] = !vocabulary[id].empty();
  }
  void set(const std::vector<float>& x) {
    for (size_t id = 0; id < x.size(); ++id) logprobs[id] = x[id];
  }
  int32_t choose(Sampler* sampler) {
    const Draw d = sampler->next_draw();
    const std::vector<int32_t>& ids = sampler->penalized();
    for (size_t i = 0; i < ids.size(); ++i) penalized[i] = ids[i];
    for (size_t i = 0; i < scratch.size(); ++i) scratch[i] = UINT64_MAX;  // of a choice before
    token[0] = -2;
    launch(cuda::ChooseParams{logprobs.data(), with_text.data(), penalized.data(), scratch.data(),
                              token.data(), d.uniform, d.temperature, d.top_p, d.min_p, d.repeat_penalty,
                              d.top_k, static_cast<uint32_t>(vocabulary.size()),
                              static_cast<uint32_t>(ids.size())});
    return token[0];
  }
  // As many choices one after another are the sampler's.
  void compare(const SamplerParams& params, int choices) {
    Sampler sampler = Sampler::create(vocabulary, params).take();
    for (int i = 0; i < 20; ++i) {  // some twice, some without text
      sampler.accept(static_cast<int32_t>(static_cast<size_t>(i * 7 % 13) % vocabulary.size()));
    }
    for (int i = 0; i < choices; ++i) {
      const int32_t chosen = choose(&sampler);
      REQUIRE(sampler.sample(logprobs.data()).value() == chosen);
    }
  }
};

// Log-probabilities of four kinds: all different; many equal ones; some that are none; all equal.
std::vector<std::vector<float>> kinds(Random& random, size_t n) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> different(n), equal(n), holes(n);
  for (size_t i = 0; i < n; ++i) {
    different[i] = random.uniform(-20, 0);
    equal[i] = -0.5f * static_cast<float>(static_cast<int>(random.uniform(0, 9)));  // -0 among them
    const float none[] = {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity, 0};
    holes[i] = i % 3 == 1 ? none[i / 3 % 4] : random.uniform(-3, 0.5f);
  }
  return {different, equal, holes, std::vector<float>(n, -4)};
}

TEST_CASE("all combinations of parameters") {
  Random random(1);
  for (const size_t n : {1, 2, 31, 96, 5000}) {
    Chooser chooser(n);
    for (const std::vector<float>& logprobs : kinds(random, n)) {
      chooser.set(logprobs);
      for (const float temperature : {0.0f, 0.8f, 5.0f}) {
        for (const uint32_t top_k : {0u, 1u, 7u, 60u}) {
          for (const float top_p : {1.0f, 0.9f, 0.2f}) {
            for (const float min_p : {0.0f, 0.1f, 1.0f}) {
              for (const float repeat_penalty : {1.0f, 1.7f}) {
                if (temperature == 0 && (top_k || top_p < 1 || min_p > 0)) continue;
                SamplerParams params;
                params.temperature = temperature, params.top_k = top_k, params.top_p = top_p,
                params.min_p = min_p, params.repeat_penalty = repeat_penalty, params.seed = n;
                INFO(n, " ", temperature, " ", top_k, " ", top_p, " ", min_p, " ", repeat_penalty);
                chooser.compare(params, n < 1000 ? 4 : 1);
              }
            }
          }
        }
      }
    }
  }
}

TEST_CASE("many choices, and extreme parameters") {
  Random random(2);
  Chooser chooser(96);
  for (const std::vector<float>& logprobs : kinds(random, 96)) {
    chooser.set(logprobs);
    chooser.compare(SamplerParams(), 300);
    for (const float temperature : {1e-45f, 1e-30f, 3e38f}) {
      SamplerParams params;
      params.temperature = temperature, params.top_p = 1e-38f;
      chooser.compare(params, 5);
      params.top_p = 1 - 0x1p-24f, params.min_p = 1e-38f, params.repeat_penalty = 3e38f;
      chooser.compare(params, 5);
    }
  }
  chooser.set(std::vector<float>(96, -3e38f));
  SamplerParams params;
  params.repeat_penalty = 3e38f;
  chooser.compare(params, 20);
}

TEST_CASE("nothing to choose from") {
  for (const size_t n : {1, 40}) {
    Chooser chooser(n);
    chooser.set(std::vector<float>(n, std::numeric_limits<float>::quiet_NaN()));
    if (n > 11) chooser.logprobs[11] = 0;  // without text
    for (const float temperature : {0.0f, 1.0f}) {
      SamplerParams params;
      params.temperature = temperature, params.repeat_penalty = 2;
      Sampler sampler = Sampler::create(chooser.vocabulary, params).take();
      sampler.accept(0);
      CHECK(chooser.choose(&sampler) == -1);
      CHECK_FALSE(sampler.sample(chooser.logprobs.data()).ok());
    }
  }
}

}  // namespace
