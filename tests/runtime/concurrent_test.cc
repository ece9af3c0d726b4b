// Threads that share a model through the C API, each with sessions or classifiers of its own, while others
// create them anew or verify: no race (run under ThreadSanitizer in CI), and the results of one thread alone.
#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "runtime/lsrt.h"
#include "tests/support/files.h"
#include "tests/support/goldens.h"
#include "tests/support/random.h"

using namespace lsrt_test;

namespace {

using Outputs = std::vector<float>;

std::shared_ptr<lsrt_model> load_golden(const std::string& name, Precision precision) {
  const TemporaryFolder folder;
  take(convert(golden_checkpoint(name), folder / "m.lsrt", golden_options(name, precision)));
  lsrt_model* model = nullptr;
  REQUIRE(lsrt_model_load((folder / "m.lsrt").c_str(), nullptr, &model) == LSRT_OK);
  return {model, lsrt_model_free};
}

// One stream on sessions that are created for it and freed again. Empty: something failed; doctest's checks
// are left to the main thread.
Outputs stream(const lsrt_model* model, uint32_t threads, uint64_t seed) {
  const size_t vocabulary = lsrt_model_vocabulary(model);
  Random random(7);
  std::vector<int32_t> tokens(90);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random.in(0, vocabulary - 1));
  lsrt_session_params params = lsrt_session_default_params();
  params.threads = threads;
  lsrt_session* session = nullptr;
  if (lsrt_session_create(model, &params, &session) != LSRT_OK) return {};
  Outputs out(tokens.size() * vocabulary);
  lsrt_status status = LSRT_OK;
  Random splits(seed);
  for (size_t done = 0, n; done < tokens.size() && status == LSRT_OK; done += n) {
    n = std::min<size_t>(splits.in(1, 40), tokens.size() - done);
    status = lsrt_session_feed(session, &tokens[done], n, LSRT_OUTPUT_ALL, &out[done * vocabulary], nullptr,
                               nullptr);
  }
  lsrt_session_free(session);
  return status == LSRT_OK ? out : Outputs();
}

Outputs classify(const lsrt_model* model, uint32_t threads, uint64_t) {
  lsrt_classifier_params params = lsrt_classifier_default_params();
  params.threads = threads;
  lsrt_classifier* classifier = nullptr;
  if (lsrt_classifier_create(model, &params, &classifier) != LSRT_OK) return {};
  Outputs logits(lsrt_model_classes(model));
  Random random(7);
  lsrt_status status;
  lsrt_image_input image{};
  image.struct_size = sizeof image;
  if (lsrt_model_image_input(model, &image) == LSRT_OK) {
    std::vector<uint8_t> pixels(size_t{image.size} * image.size * 3);
    for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random.next());
    status = lsrt_classify_images(classifier, pixels.data(), 1, logits.data());
  } else {
    lsrt_sequence_input sequence{};
    sequence.struct_size = sizeof sequence;
    lsrt_model_sequence_input(model, &sequence);
    const size_t lengths[2] = {std::min<size_t>(sequence.max_length, 50),
                               std::min<size_t>(sequence.max_length, 40)};
    std::vector<int32_t> tokens(lengths[0] + lengths[1]);
    for (int32_t& token : tokens) token = static_cast<int32_t>(random.in(1, 10));
    status = lsrt_classify_sequences(classifier, tokens.data(), lengths, 1, logits.data());
  }
  lsrt_classifier_free(classifier);
  return status == LSRT_OK ? logits : Outputs();
}

bool verifies(const lsrt_model* model) {
  float difference = 1, expected = 0;
  return lsrt_model_verify(model, 2, &difference, &expected) == LSRT_OK && difference <= expected + 1e-4f;
}

}  // namespace

TEST_CASE("threads share a model") {
  for (const std::string name : {"lm-preln-rank2", "vil-3stage-odd-window-ape", "lra-dual"}) {
    for (const Precision precision : {Precision::kInt8, Precision::kFloat32}) {
      CAPTURE(name);
      CAPTURE(precision == Precision::kInt8);
      const auto model = load_golden(name, precision);
      const auto run = lsrt_model_vocabulary(model.get()) ? stream : classify;
      const Outputs expected = run(model.get(), 1, 1);
      REQUIRE(!expected.empty());
      // Float sums depend on how many rows are computed together.
      const float bound = precision == Precision::kInt8 ? 0 : 1e-4f;
      std::atomic<size_t> right{0}, verified{0};
      std::vector<std::thread> threads;
      constexpr uint32_t kThreads = 4, kRounds = 3;
      for (uint32_t i = 0; i < kThreads; ++i) {
        threads.emplace_back([&, i] {
          for (uint32_t round = 0; round < kRounds; ++round) {
            const uint32_t own = precision == Precision::kInt8 ? 1 + (i + round) % 3 : 1 + (i + round) % 2;
            const Outputs got = run(model.get(), own, 10 * i + round + 1);
            right += got.size() == expected.size() &&
                     largest_difference(got.data(), expected.data(), got.size()) <= bound;
          }
        });
      }
      threads.emplace_back([&] {
        for (uint32_t round = 0; round < kRounds; ++round) verified += verifies(model.get());
      });
      for (std::thread& thread : threads) thread.join();
      CHECK(right == kThreads * kRounds);
      CHECK(verified == kRounds);
    }
  }
}
