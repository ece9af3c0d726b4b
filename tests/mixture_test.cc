// Mixtures of mixers, a choice of each layer: encoders with full attention in some layers, and streams of
// causal models whose full layers keep a bounded cache, against plain double precision.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "runtime/encoder_network.h"
#include "runtime/session.h"
#include "tests/naive_causal.h"
#include "tests/naive_encoder.h"
#include "tests/random_encoder.h"
#include "tests/support.h"

using namespace lsrt;
using lsrt_test::EncoderCase;
using lsrt_test::random_encoder;
using lsrt_test::take;

namespace {

std::shared_ptr<Backend> cpu() { return take(Backend::create("cpu", "")); }

nlohmann::json golden_config(const std::string& golden) {
  std::ifstream file(lsrt_test::golden_path(golden, "case.json"));
  return nlohmann::json::parse(file)["config"];
}

// A golden language model, one of its layers turned into full attention. Memory: 64 tokens.
std::shared_ptr<const Model> causal_mixture(const std::string& golden, size_t full_layer,
                                            Precision precision) {
  nlohmann::json config = golden_config(golden);
  std::vector<std::string> mixer(config["n_layer"], "long-short");
  mixer[full_layer] = "full";
  config["mixer"] = mixer;
  lsrt_test::TemporaryFile path(".json");
  std::ofstream(path.path()) << config;
  ConvertOptions options;
  options.config_path = path.path();
  options.precision = precision;
  options.block = 32;
  options.memory = 64;
  return lsrt_test::convert_checkpoint(lsrt_test::golden_path(golden, "checkpoint.pt"), options);
}

std::vector<int32_t> some_tokens(size_t n, size_t vocabulary) {
  std::mt19937 random(2);
  std::vector<int32_t> tokens(n);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % vocabulary);
  return tokens;
}

}  // namespace

TEST_CASE("encoder: long-short and full layers in any order") {
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
        auto network = take(EncoderNetwork::create(model, cpu(), {}));
        for (const size_t length : {1, 20, 50}) {
          const std::vector<int32_t> tokens = some_tokens(length, c.vocabulary);
          std::vector<int32_t> mask(length, 1);
          for (size_t i = 1; i < length; i += 1 + i % 4) mask[i] = 0;
          const Document document{tokens.data(), length, mask.data()};
          std::vector<float> logits(c.classes);
          REQUIRE(network->run(&document, logits.data(), nullptr).ok());
          const naive::Row expected = naive::classify(*model, {tokens}, {mask});
          for (size_t i = 0; i < logits.size(); ++i)
            CHECK(logits[i] == doctest::Approx(expected[i]).epsilon(1e-4));
        }
      }
    }
  }
}

TEST_CASE("encoder: int8 full layers depend neither on threads nor on the kernel set") {
  EncoderCase c;
  c.mixer = {"full", "long-short"}, c.max_length = 700;
  auto model = random_encoder(c, Precision::kInt8);
  const std::vector<int32_t> tokens = some_tokens(700, c.vocabulary);
  std::vector<float> expected(c.classes), got(c.classes);
  const size_t length = tokens.size();
  auto scalar = take(EncoderNetwork::create(model, take(Backend::create("cpu", "scalar")), {}));
  REQUIRE(scalar->run(tokens.data(), &length, 1, expected.data()).ok());
  ClassifierOptions threads;
  threads.threads = 2;
  auto best = take(EncoderNetwork::create(model, cpu(), threads));
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
      auto session = take(Session::create(model, cpu(), {}));
      std::vector<float> got(tokens.size() * session->vocabulary());
      REQUIRE(session->feed(tokens.data(), tokens.size(), Session::Output::kAll, got.data()).ok());
      double largest = 0;
      for (size_t i = 0; i < tokens.size(); ++i) {
        const naive::Row expected = reference.feed(tokens[i]);
        for (size_t v = 0; v < expected.size(); ++v) {
          const double difference = std::fabs(expected[v] - double{got[i * expected.size() + v]});
          if (!(difference <= largest)) largest = difference;  // NaN counts as the largest
        }
      }
      MESSAGE("largest difference " << largest);
      CHECK(largest < 2e-4);
    }
  }
}

TEST_CASE("causal: an int8 mixture gives the same bits however the stream is split") {
  auto model = causal_mixture("lm-preln-rank2", 1, Precision::kInt8);
  const std::vector<int32_t> tokens = some_tokens(130, model->vocabulary.size());
  auto whole = take(Session::create(model, cpu(), {})), single = take(Session::create(model, cpu(), {}));
  std::vector<float> expected(tokens.size() * whole->vocabulary()), got(expected.size());
  REQUIRE(whole->feed(tokens.data(), tokens.size(), Session::Output::kAll, expected.data()).ok());
  for (size_t i = 0; i < tokens.size(); ++i) {
    REQUIRE(single->feed(&tokens[i], 1, Session::Output::kAll, got.data() + i * single->vocabulary()).ok());
  }
  CHECK(got == expected);
}
