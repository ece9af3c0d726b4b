// Memory that runs out anywhere in the life of a session, a classifier, an embedder or in a conversion is an
// error: nothing crashes, nothing is kept, and the next try succeeds.
#include "tests/support/memory_failures.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <new>

#include "converter/convert.h"
#include "runtime/lsrt.h"
#include "tests/support/files.h"
#include "tests/support/tiny_models.h"

#ifdef LSRT_FAIL_MEMORY
using namespace lsrt_test;

namespace {

struct Handles {
  lsrt_model* model = nullptr;
  lsrt_session *session = nullptr, *other = nullptr;
  lsrt_sampler *sampler = nullptr, *restored = nullptr;
  ~Handles() {
    lsrt_sampler_free(sampler);
    lsrt_sampler_free(restored);
    lsrt_session_free(session);
    lsrt_session_free(other);
    lsrt_model_free(model);
  }
};

// Load, create, feed, sample (in one call, too), save and load; the first status that is not LSRT_OK.
// Allocates nothing of its own.
lsrt_status life(const std::string& model_path, const std::string& state_path, uint32_t threads) {
  static unsigned char buffer[1 << 16];
  Handles h;
  lsrt_session_params params = lsrt_session_default_params();
  params.threads = threads, params.memory = 64;  // more than the model's own: position tables are made
  int32_t tokens[30], token = 0;
  float logprobs[16];
  size_t count = 0, size = 0;
  lsrt_status status = lsrt_model_load(model_path.c_str(), nullptr, &h.model);
  const auto then = [&](auto&& call) {
    if (status == LSRT_OK) status = call();
  };
  then([&] { return lsrt_session_create(h.model, &params, &h.session); });
  then([&] { return lsrt_session_create(h.model, &params, &h.other); });
  then([&] { return lsrt_sampler_create(h.model, nullptr, &h.sampler); });
  then([&] { return lsrt_sampler_create(h.model, nullptr, &h.restored); });
  then([&] { return lsrt_tokenize(h.model, "abcab cab\nabcbbcacb", 18, tokens, 30, &count); });
  then([&] {
    return lsrt_session_feed(h.session, tokens, count, LSRT_OUTPUT_LAST, logprobs, nullptr, nullptr);
  });
  then([&] { return lsrt_sampler_sample(h.sampler, logprobs, &token); });
  then([&] { return lsrt_session_save_buffer(h.session, h.sampler, buffer, sizeof buffer, &size); });
  then([&] { return lsrt_session_load_buffer(h.other, h.restored, buffer, size); });
  then([&] { return lsrt_session_save(h.session, h.sampler, state_path.c_str()); });
  then([&] { return lsrt_session_load(h.other, h.restored, state_path.c_str()); });
  then([&] { return lsrt_session_feed(h.other, &token, 1, LSRT_OUTPUT_LAST, logprobs, nullptr, nullptr); });
  then([&] { return lsrt_session_next(h.other, &token, 1, h.restored, nullptr, nullptr, &token); });
  then([&] { return lsrt_session_reset(h.session); });
  return status;
}

// Load, create, classify.
lsrt_status classify(const std::string& model_path, bool images) {
  static uint8_t pixels[16 * 16 * 3];
  int32_t tokens[] = {5, 6, 7, 8, 9};
  const size_t length = 5;
  float logits[8];
  lsrt_model* model = nullptr;
  lsrt_classifier* classifier = nullptr;
  lsrt_classifier_params params = lsrt_classifier_default_params();
  params.threads = 1;
  lsrt_status status = lsrt_model_load(model_path.c_str(), nullptr, &model);
  if (status == LSRT_OK) status = lsrt_classifier_create(model, &params, &classifier);
  if (status == LSRT_OK) {
    status = images ? lsrt_classify_images(classifier, pixels, 1, logits)
                    : lsrt_classify_sequences(classifier, tokens, &length, 1, logits);
  }
  lsrt_classifier_free(classifier);
  lsrt_model_free(model);
  return status;
}

// Load, create, embed.
lsrt_status embed(const std::string& model_path) {
  static float tiles[9 * 6];
  const float coords[2 * 9] = {1, 300};
  float embedding[16];
  lsrt_model* model = nullptr;
  lsrt_embedder* embedder = nullptr;
  lsrt_embedder_params params = lsrt_embedder_default_params();
  params.threads = 1, params.max_tiles = 9;
  lsrt_status status = lsrt_model_load(model_path.c_str(), nullptr, &model);
  if (status == LSRT_OK) status = lsrt_embedder_create(model, &params, &embedder);
  if (status == LSRT_OK) status = lsrt_embed_slide(embedder, tiles, coords, 9, embedding);
  lsrt_embedder_free(embedder);
  lsrt_model_free(model);
  return status;
}

// Fails each allocation of an operation, alone or with all after it: an error about memory, or success where
// it only makes things faster, and nothing kept.
template <typename F>
void fail_each(const char* name, const F& operation) {
  REQUIRE(operation() == LSRT_OK);  // what is made once for the process
  memory_failures = {};
  memory_failures.counting = true;
  const lsrt_status good = operation();
  memory_failures.counting = false;
  const long total = memory_failures.calls, kept = memory_failures.live;
  REQUIRE(good == LSRT_OK);
  CHECK(kept == 0);
  size_t errors = 0;
  for (const long run : {1L, 1L << 40}) {  // this one alone, or it and all after it
    for (long at = 0; at < total; ++at) {
      memory_failures = {};
      memory_failures.from = at, memory_failures.to = at + run, memory_failures.counting = true;
      const lsrt_status status = operation();
      memory_failures.counting = false;
      const long live = memory_failures.live;
      CAPTURE(std::string(name));
      CAPTURE(at);
      CAPTURE(run);
      CHECK((status == LSRT_ERROR_MEMORY || (status == LSRT_OK && run == 1)));
      CHECK(live == 0);
      errors += status != LSRT_OK;
    }
  }
  MESSAGE(std::string(name) << ": " << total << " allocations, each failed alone and with all after it; "
                            << errors << " errors");
  CHECK(errors > static_cast<size_t>(total));
  CHECK(operation() == LSRT_OK);
}

void write_model(const std::string& path, const ModelBytes& bytes) {
  write_file(path, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

// A conversion as the tool makes it: the process's exit status. JSON trees allocate where they are destroyed,
// which C++ answers by terminate(); the tool ends with an error then, too (cli/main.cc).
int convert_checkpoint(const std::string& source, const std::string& config, const std::string& output) {
  try {
    ConvertOptions options;
    options.config_path = config, options.golden = false;
    return convert(source, output, options).ok() ? 0 : 1;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

}  // namespace

TEST_CASE("each allocation may fail") {
  const TemporaryFolder folder;
  const std::string model = folder / "model", state = folder / "state";
  for (const Precision precision : {Precision::kInt8, Precision::kFloat32}) {
    const bool int8 = precision == Precision::kInt8;
    write_model(model, tiny_lm(precision));
    fail_each(int8 ? "text, int8" : "text, float32", [&] { return life(model, state, 1); });
    CHECK(folder.entries() == 2);  // nothing half written stays
    write_model(model, tiny_encoder(precision));
    fail_each(int8 ? "document, int8" : "document, float32", [&] { return classify(model, false); });
    write_model(model, tiny_vil(precision));
    fail_each(int8 ? "image, int8" : "image, float32", [&] { return classify(model, true); });
    write_model(model, tiny_longnet(precision));
    fail_each(int8 ? "slide, int8" : "slide, float32", [&] { return embed(model); });
  }
}

TEST_CASE("each allocation of a conversion may fail; its file is whole or not there") {
  const TemporaryFolder folder;
  const std::string source = golden_checkpoint("lm-rank0"), config = golden_path("lm-rank0", "case.json");
  const std::string output = folder / "model";
  REQUIRE(convert_checkpoint(source, config, output) == 0);
  memory_failures = {};
  memory_failures.counting = true;
  const int status = convert_checkpoint(source, config, output);
  memory_failures.counting = false;
  const long total = memory_failures.calls;
  REQUIRE(status == 0);
  const std::string expected = read_file(output);
  long errors = 0;
  for (long at = 0; at < total; ++at) {
    std::remove(output.c_str());
    const pid_t child = fork();
    if (child == 0) {
      std::set_terminate([] { _exit(1); });
      memory_failures = {};
      memory_failures.from = at, memory_failures.to = at + 1, memory_failures.counting = true;
      _exit(convert_checkpoint(source, config, output));
    }
    int ended = 0;
    REQUIRE(waitpid(child, &ended, 0) == child);
    CAPTURE(at);
    CHECK((WIFEXITED(ended) && WEXITSTATUS(ended) <= 1));
    // Whole, or not there: what fails after the file has got its name does not take it back.
    const bool made = folder.entries() == 1;
    CHECK((made ? read_file(output) == expected : folder.entries() == 0));
    CHECK((made || WEXITSTATUS(ended) != 0));
    errors += WEXITSTATUS(ended);
  }
  MESSAGE("conversion: " << total << " allocations, each failed alone; " << errors << " errors");
  CHECK(errors > total / 2);
}
#endif
