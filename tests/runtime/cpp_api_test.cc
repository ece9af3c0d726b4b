// lsrt.hpp: gives what lsrt.h gives, and turns errors into values or, where asked, exceptions.
#include <doctest/doctest.h>

#include "tests/support/files.h"
#include "tests/support/tiny_models.h"

// Last: where both are known, the library's own Status and the one of users are told apart by api:: alone.
#include "runtime/lsrt.hpp"

namespace {

namespace api = lsrt::api;

api::Model load(const lsrt_test::ModelBytes& bytes) {
  return api::Model::load_buffer(bytes.data(), bytes.size()).or_throw();
}

}  // namespace

TEST_CASE("C++: text") {
  const api::Model model = load(lsrt_test::tiny_lm(lsrt::Precision::kInt8));
  CHECK(model.family() == "lm");
  CHECK(model.vocabulary() == 10);
  CHECK(model.classes() == 0);
  CHECK(model.token_text(5) == "b");
  CHECK(model.token_text(10).empty());
  const std::vector<int32_t> tokens = model.tokenize("abcab").or_throw();
  CHECK(tokens == std::vector<int32_t>{4, 5, 6, 4, 5});
  CHECK(model.tokenize("").or_throw().empty());
  CHECK(model.detokenize(tokens).or_throw() == "abcab");
  CHECK(model.detokenize(api::Tokens(nullptr, 0)).or_throw().empty());
  CHECK_FALSE(model.token_special(4));
  CHECK(api::whole_text("a\xe2\x82") == "a");

  api::SessionParams params;
  params.threads = 1;
  CHECK(model.plan(params).or_throw().state_bytes > 0);
  api::Session session = model.session(params).or_throw();
  std::vector<float> last, all, expected(10);
  session.feed(tokens, &last).or_throw();
  CHECK(session.position() == 5);
  {
    lsrt_session* plain = nullptr;
    REQUIRE(lsrt_session_create(model.get(), nullptr, &plain) == LSRT_OK);
    CHECK(lsrt_session_feed(plain, tokens.data(), 5, LSRT_OUTPUT_LAST, expected.data(), nullptr, nullptr) ==
          LSRT_OK);
    lsrt_session_free(plain);
  }
  CHECK(last == expected);
  session.reset().or_throw();
  session.feed_all(tokens, &all).or_throw();
  CHECK(all.size() == 50);
  CHECK(std::vector<float>(all.end() - 10, all.end()) == expected);

  api::SamplerParams greedy;
  greedy.temperature = 0;
  api::Sampler sampler = model.sampler(greedy).or_throw();
  CHECK(sampler.last() == -1);
  sampler.accept(tokens);
  CHECK(sampler.last() == 5);
  const int32_t next = sampler.sample(last).or_throw();
  CHECK(sampler.sample(all).or_throw() == next);
  CHECK(sampler.last() == next);
  api::Session other = model.session().or_throw();
  CHECK(other.next(tokens, &sampler).or_throw() == next);
  CHECK_FALSE(other.next(tokens, &sampler, [](size_t, size_t) { return false; }).ok());
  CHECK_FALSE(other.next(tokens, nullptr).ok());

  // A state in a file and in memory goes on as the stream does.
  const lsrt_test::TemporaryFolder folder;
  session.save(folder / "state", &sampler).or_throw();
  const std::vector<uint8_t> bytes = session.save_buffer(&sampler).or_throw();
  session.feed(next, &expected).or_throw();
  api::Session second = model.session().or_throw();
  second.load(folder / "state", &sampler).or_throw();
  CHECK(second.position() == 5);
  second.feed(next, &last).or_throw();
  CHECK(last == expected);
  second.load_buffer(bytes.data(), bytes.size()).or_throw();
  second.feed(next, &last).or_throw();
  CHECK(last == expected);

  size_t asked = 0;
  const api::Status stopped = second.feed(std::vector<int32_t>(600, 4), nullptr, [&](size_t done, size_t) {
    ++asked;
    return done < 100;
  });
  CHECK(stopped.code() == LSRT_ERROR_CANCELLED);
  CHECK(asked > 1);
}

TEST_CASE("C++: slides") {
  const api::Model model = load(lsrt_test::tiny_longnet(lsrt::Precision::kInt8));
  CHECK(model.family() == "slide");
  CHECK(model.classes() == 0);
  const lsrt_slide_input input = model.slide_input().or_throw();
  CHECK(input.features == 6);
  CHECK(input.tile == 16);
  CHECK(input.cells == 20);
  CHECK(input.width == 16);
  const std::vector<float> tiles(30 * 6, 0.5f), coords(30 * 2, 17.0f);
  std::vector<float> expected(16);
  lsrt_embedder* plain = nullptr;
  REQUIRE(lsrt_embedder_create(model.get(), nullptr, &plain) == LSRT_OK);
  CHECK(lsrt_embed_slide(plain, tiles.data(), coords.data(), 30, expected.data()) == LSRT_OK);
  lsrt_embedder_free(plain);
  api::EmbedderParams params;
  params.max_tiles = 30;
  api::Embedder embedder = model.embedder(params).or_throw();
  CHECK(embedder.embed(tiles, coords).or_throw() == expected);
  CHECK(embedder.embed(tiles, {1, 2, 3}).status().code() == LSRT_ERROR_ARGUMENT);
  CHECK(embedder.embed({}, {}).message().find("must be 1 to 30") != std::string::npos);
  CHECK(embedder.embed(tiles, std::vector<float>(60, 320)).message().find("below 320") != std::string::npos);
  params.max_bytes = 1000;
  CHECK(model.embedder(params).status().code() == LSRT_ERROR_MEMORY);
  CHECK(model.classifier().message().find("is no classifier") != std::string::npos);
  CHECK(model.sequence_input().message() == "the model is of family 'slide', not 'encoder'");
  CHECK(model.session().status().code() == LSRT_ERROR_ARGUMENT);
  const api::Model other = load(lsrt_test::tiny_vil(lsrt::Precision::kInt8));
  CHECK(other.embedder().message() == "the model is of family 'vil', not 'slide'");
  CHECK(other.slide_input().status().code() == LSRT_ERROR_ARGUMENT);
}

TEST_CASE("C++: images and documents") {
  const api::Model vil = load(lsrt_test::tiny_vil(lsrt::Precision::kInt8));
  CHECK(vil.label(1) == "b");
  const size_t size = vil.image_input().or_throw().size;
  std::vector<uint8_t> pixels(2 * size * size * 3);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 7);
  std::vector<float> expected(2 * 5);
  lsrt_classifier* plain = nullptr;
  REQUIRE(lsrt_classifier_create(vil.get(), nullptr, &plain) == LSRT_OK);
  CHECK(lsrt_classify_images(plain, pixels.data(), 2, expected.data()) == LSRT_OK);
  lsrt_classifier_free(plain);
  api::ClassifierParams params;
  params.max_batch = 2;
  api::Classifier images = vil.classifier(params).or_throw();
  CHECK(images.images(pixels.data(), pixels.size()).or_throw() == expected);
  const api::Result<std::vector<float>> cut = images.images(pixels.data(), pixels.size() - 1);
  CHECK(cut.status().code() == LSRT_ERROR_ARGUMENT);
  CHECK(cut.message().find("768") != std::string::npos);
  CHECK(images.sequences({std::vector<int32_t>{1, 2}}).status().code() == LSRT_ERROR_ARGUMENT);

  const api::Model encoder = load(lsrt_test::tiny_encoder(lsrt::Precision::kInt8));
  CHECK(encoder.sequence_input().or_throw().max_length == 24);
  CHECK(encoder.image_input().status().code() == LSRT_ERROR_ARGUMENT);
  api::Classifier documents = encoder.classifier().or_throw();
  const std::vector<int32_t> first = {1, 2, 3}, second = {4, 5};
  const std::vector<float> logits = documents.sequences({first, second}).or_throw();
  CHECK(logits.size() == 6);
  CHECK(documents.sequences({second}).or_throw() == std::vector<float>(logits.begin() + 3, logits.end()));
  CHECK(documents.images(pixels.data(), pixels.size()).status().code() == LSRT_ERROR_ARGUMENT);
}

TEST_CASE("C++: errors are values, or exceptions where asked") {
  const api::Result<api::Model> missing = api::Model::load("/no/such/file.lsrt");
  CHECK_FALSE(missing);
  CHECK(missing.status().code() == LSRT_ERROR_FILE);
  CHECK(missing.message().find("/no/such/file.lsrt") != std::string::npos);
  CHECK_THROWS_AS(missing.or_throw(), api::Exception);
  try {
    api::Model::load("/no/such/file.lsrt").or_throw();
  } catch (const api::Exception& e) {
    CHECK(e.code() == LSRT_ERROR_FILE);
    CHECK(e.what() == missing.message());
  }

  // What a failed result holds is empty, and fails in turn.
  CHECK(missing->family().empty());
  CHECK(missing->token_text(1).empty());
  CHECK(missing->verify().code() == LSRT_ERROR_ARGUMENT);
  CHECK_FALSE(missing->tokenize("a"));
  CHECK_FALSE(missing->detokenize(1));
  CHECK_FALSE(missing->plan());
  api::Result<api::Session> session = missing->session();
  CHECK_FALSE(session);
  std::vector<float> logprobs;
  CHECK(session->feed(1, &logprobs).code() == LSRT_ERROR_ARGUMENT);
  CHECK_FALSE(session->feed_all(1, &logprobs));
  CHECK_FALSE(session->save_buffer());
  CHECK(session->position() == 0);
  api::Result<api::Sampler> sampler = missing->sampler();
  CHECK(sampler->sample(logprobs).status().code() == LSRT_ERROR_ARGUMENT);
  sampler->accept(1);
  CHECK(sampler->last() == -1);
  api::Result<api::Classifier> classifier = missing->classifier();
  CHECK_FALSE(classifier);
  CHECK_FALSE(classifier->images(nullptr, 0));
  CHECK_FALSE(classifier->sequences({api::Tokens(1)}));

  const api::Model model = load(lsrt_test::tiny_lm(lsrt::Precision::kInt8));
  const api::Result<std::vector<int32_t>> unknown = model.tokenize("ab?");
  CHECK(unknown.message().find("position 2") != std::string::npos);
  CHECK(unknown->empty());
  CHECK(model.sampler().or_throw().sample({0.f, 1.f}).message().find("2 log-probabilities") !=
        std::string::npos);
  CHECK_FALSE(model.classifier());
}
