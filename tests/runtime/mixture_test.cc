// Mixtures of mixers, a choice of each layer: encoders with full attention in some layers, and streams of
// causal models whose full layers keep a bounded cache, against plain double precision.
#include <doctest/doctest.h>

#include "runtime/classify/encoder_network.h"
#include "runtime/text/session.h"
#include "tests/support/backends.h"
#include "tests/support/goldens.h"
#include "tests/support/naive_causal.h"
#include "tests/support/naive_encoder.h"
#include "tests/support/random_encoder.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

// Of logits and log-probabilities. Measured: at most 1.5e-6 and 9.0e-6.
constexpr float kFloatBound = 2.5e-5f;

nlohmann::json golden_config(const std::string& golden) {
  std::ifstream file(golden_path(golden, "case.json"));
  return nlohmann::json::parse(file)["config"];
}

// A golden language model, one of its layers turned into full attention. Memory: 64 tokens.
std::shared_ptr<const Model> causal_mixture(const std::string& golden, size_t full_layer,
                                            Precision precision) {
  nlohmann::json config = golden_config(golden);
  std::vector<std::string> mixer(config["n_layer"], "long-short");
  mixer[full_layer] = "full";
  config["mixer"] = mixer;
  const TemporaryFolder folder;
  std::ofstream(folder / "config.json") << config;
  ConvertOptions options;
  options.config_path = folder / "config.json";
  options.precision = precision;
  options.block = 32;
  options.memory = 64;
  return convert_checkpoint(golden_checkpoint(golden), options);
}

std::vector<int32_t> some_tokens(size_t n, size_t vocabulary) {
  std::mt19937 random(2);
  std::vector<int32_t> tokens(n);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % vocabulary);
  return tokens;
}

}  // namespace

TEST_CASE("encoder: long-short and full layers in any order") {
  double worst = 0;
  for (const std::vector<std::string>& mixer :
       {std::vector<std::string>{"long-short", "full"}, {"full", "long-short"}, {"full", "full"}}) {
    for (const bool cls_last : {false, true}) {
      for (const bool cls_first : {false, true}) {
        if (cls_last && cls_first) continue;
        CAPTURE(mixer[0] + ", " + mixer[1]);
        CAPTURE(cls_last);
        CAPTURE(cls_first);
        EncoderCase c;
        c.mixer = mixer, c.cls_last_layer = cls_last, c.cls_token = cls_first;
        auto model = random_encoder(c, Precision::kFloat32);
        auto network = take(EncoderNetwork::create(cpu(model), {}));
        for (const size_t length : {1, 20, 50}) {
          const std::vector<int32_t> tokens = some_tokens(length, c.vocabulary);
          std::vector<int32_t> mask(length, 1);
          for (size_t i = 1; i < length; i += 1 + i % 4) mask[i] = 0;
          const Document document{tokens.data(), length, mask.data()};
          std::vector<float> logits(c.classes);
          REQUIRE(network->run(&document, logits.data(), nullptr).ok());
          const naive::Row expected = naive::classify(*model, {tokens}, {mask});
          worst = std::max(worst, difference(logits, expected));
          CHECK(difference(logits, expected) <= kFloatBound);
        }
      }
    }
  }
  MESSAGE("largest difference " << worst);
}

TEST_CASE("encoder: int8 full layers depend neither on threads nor on the kernel set") {
  EncoderCase c;
  c.mixer = {"full", "long-short"}, c.max_length = 700;
  auto model = random_encoder(c, Precision::kInt8);
  const std::vector<int32_t> tokens = some_tokens(700, c.vocabulary);
  std::vector<float> expected(c.classes), got(c.classes);
  const size_t length = tokens.size();
  auto scalar = take(EncoderNetwork::create(cpu(model, "scalar"), {}));
  REQUIRE(scalar->run(tokens.data(), &length, 1, expected.data()).ok());
  ClassifierOptions threads;
  threads.threads = 2;
  auto best = take(EncoderNetwork::create(cpu(model), threads));
  REQUIRE(best->run(tokens.data(), &length, 1, got.data()).ok());
  CHECK(got == expected);
}

TEST_CASE("causal: full layers see the window of the whole memory") {
  for (const char* golden : {"lm-preln-rank2", "lm-postln-relu-bias"}) {
    const size_t layers = golden_config(golden)["n_layer"];
    for (const size_t full_layer : {size_t{0}, layers - 1}) {
      CAPTURE(std::string(golden));
      CAPTURE(full_layer);
      auto model = causal_mixture(golden, full_layer, Precision::kFloat32);
      const auto& full = std::get<CausalLongShort>(model->stages[0].blocks[full_layer].mixer);
      CHECK(full.rank == 0);
      CHECK(full.window == 64);
      const std::vector<int32_t> tokens = some_tokens(150, model->vocabulary.size());
      naive::CausalStream reference(*model);
      auto session = take(Session::create(cpu(model), {}));
      std::vector<float> got(tokens.size() * session->vocabulary());
      REQUIRE(session->feed(tokens.data(), tokens.size(), Session::Output::kAll, got.data()).ok());
      double largest = 0;
      for (size_t i = 0; i < tokens.size(); ++i) {
        const naive::Row expected = reference.feed(tokens[i]);
        const double d = largest_difference(expected.data(), &got[i * expected.size()], expected.size());
        REQUIRE_FALSE(std::isnan(d));
        largest = std::max(largest, d);
      }
      MESSAGE("largest difference " << largest);
      CHECK(largest <= kFloatBound);
    }
  }
}

TEST_CASE("causal: an int8 mixture gives the same bits however the stream is split") {
  auto model = causal_mixture("lm-preln-rank2", 1, Precision::kInt8);
  const std::vector<int32_t> tokens = some_tokens(130, model->vocabulary.size());
  auto whole = take(Session::create(cpu(model), {})), single = take(Session::create(cpu(model), {}));
  std::vector<float> expected(tokens.size() * whole->vocabulary()), got(expected.size());
  REQUIRE(whole->feed(tokens.data(), tokens.size(), Session::Output::kAll, expected.data()).ok());
  for (size_t i = 0; i < tokens.size(); ++i) {
    REQUIRE(single->feed(&tokens[i], 1, Session::Output::kAll, got.data() + i * single->vocabulary()).ok());
  }
  CHECK(got == expected);
}
