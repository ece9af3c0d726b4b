// Bidirectional encoders: the goldens, padding and masks, every kind of attention, threads and kernel sets.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "kernels/dispatch.h"
#include "runtime/classify/encoder_network.h"
#include "tests/support/allocations.h"
#include "tests/support/backends.h"
#include "tests/support/goldens.h"
#include "tests/support/naive_encoder.h"
#include "tests/support/random_encoder.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

// Of encoder outputs and logits. Measured: at most 2.2e-6.
constexpr float kFloatBound = 6e-6f;

std::unique_ptr<EncoderNetwork> network(const std::shared_ptr<const Model>& model, size_t threads = 1,
                                        const std::string& isa = "") {
  ClassifierOptions options;
  options.threads = threads;
  std::shared_ptr<Backend> backend = cpu(model, isa);
  return take(EncoderNetwork::create(backend, options));
}

std::vector<Array> golden_inputs(const std::string& name, size_t documents) {
  std::vector<Array> inputs;
  for (size_t j = 0; j < documents; ++j) {
    for (const char* kind : {"tokens_", "mask_"})
      inputs.push_back(golden_array(name, kind + std::to_string(j)));
  }
  return inputs;
}

double cosine(const float* x, const float* y, size_t n) {
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < n; ++i)
    xy += double{x[i]} * y[i], xx += double{x[i]} * x[i], yy += double{y[i]} * y[i];
  return xy / std::sqrt(xx * yy);
}

std::vector<int32_t> random_tokens(size_t n, uint32_t vocabulary, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(n);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % vocabulary);
  return tokens;
}

std::vector<float> logits_of(EncoderNetwork& n, const std::vector<Document>& documents) {
  std::vector<float> logits(n.classes());
  const Status status = n.run(documents.data(), logits.data(), nullptr);
  INFO(status.message());
  REQUIRE(status.ok());
  return logits;
}

// What the mixers' settings can be; every one with holes in the masks below.
std::vector<EncoderCase> cases() {
  std::vector<EncoderCase> list(11);
  list[0].name = "as published";
  list[1].name = "window only", list[1].rank = 0;
  list[2].name = "landmarks only", list[2].window = 0;
  list[3].name = "own key only", list[3].window = list[3].rank = 0;
  list[4].name = "odd window", list[4].window = 5;
  list[5].name = "window of one", list[5].window = 1;
  list[6].name = "cls row in the last layer, convolution", list[6].cls_last_layer = true, list[6].kernel = 4;
  list[7].name = "cls row from the first layer", list[7].cls_token = true, list[7].rank = 3;
  list[8].name = "tied layers", list[8].tied = true, list[8].layers = 3;
  list[9].name = "pairs, window longer than most documents", list[9].pair = true, list[9].window = 32;
  list[10].name = "cls row and own key only", list[10].cls_token = true, list[10].window = list[10].rank = 0;
  return list;
}

}  // namespace

TEST_CASE("goldens: float32 equals the authors' outputs, int8 is close") {
  for (const std::string& name : golden_names("encoder")) {
    CAPTURE(name);
    auto model = convert_golden(name, "float32");
    const size_t documents = std::get<ClassifierHead>(model->head).pair ? 2 : 1;
    ArrayOptions options;
    options.intermediate = true;
    const std::vector<Array> inputs = golden_inputs(name, documents);
    const std::vector<Array> outputs = take(run_arrays(cpu(model), inputs, options));
    REQUIRE(outputs.size() == 1 + documents);
    for (const Array& output : outputs) {
      const float d = difference(output, golden_array(name, output.name));
      MESSAGE(name << " " << output.name << ": largest difference " << d);
      CHECK(d <= kFloatBound);
    }
    const Array quantized = take(run_arrays(cpu(convert_golden(name, "int8")), inputs, {}))[0];
    const size_t classes = quantized.shape[1];
    for (size_t i = 0; i < quantized.shape[0]; ++i) {
      const double similar =
          cosine(quantized.floats() + i * classes, outputs[0].floats() + i * classes, classes);
      MESSAGE(name << " int8, input " << i << ": cosine " << similar);
      CHECK(similar > 0.995);
    }
  }
}

TEST_CASE("every kind of attention, masks with holes: equal to plain double precision") {
  double worst = 0;
  for (const EncoderCase& c : cases()) {
    CAPTURE(std::string(c.name));
    auto model = random_encoder(c, Precision::kFloat32);
    auto n = network(model);
    for (const size_t length : {size_t{1}, size_t{7}, size_t{31}, size_t{c.max_length}}) {
      for (const bool holes : {false, true}) {
        CAPTURE(length);
        CAPTURE(holes);
        std::vector<std::vector<int32_t>> tokens, masks;
        std::vector<Document> documents;
        for (uint32_t j = 0; j < n->documents(); ++j) {
          tokens.push_back(random_tokens(length, c.vocabulary, 3 + j));
          masks.push_back(std::vector<int32_t>(length, 1));
          for (size_t i = 0; holes && i + 1 < length; ++i) masks[j][i] = (i / 3 + j) % 3 != 1 && i % 11 < 8;
        }
        for (uint32_t j = 0; j < n->documents(); ++j)
          documents.push_back({tokens[j].data(), length, masks[j].data()});
        const naive::Row expected = naive::classify(*model, tokens, masks);
        const std::vector<float> got = logits_of(*n, documents);
        worst = std::max(worst, difference(got, expected));
        CHECK(difference(got, expected) <= kFloatBound);
      }
    }
  }
  MESSAGE("largest difference " << worst);
}

TEST_CASE("a long document: landmarks join the sums of many rows") {
  EncoderCase c;
  c.max_length = 1300;
  auto model = random_encoder(c, Precision::kFloat32);
  const std::vector<int32_t> tokens = random_tokens(c.max_length, c.vocabulary, 4);
  std::vector<int32_t> mask(tokens.size());
  for (size_t i = 0; i < mask.size(); ++i) mask[i] = i % 9 != 4;
  const naive::Row expected = naive::classify(*model, {tokens}, {mask});
  const std::vector<float> got = logits_of(*network(model), {{tokens.data(), tokens.size(), mask.data()}});
  MESSAGE("largest difference " << difference(got, expected));
  CHECK(difference(got, expected) <= kFloatBound);
}

TEST_CASE("padding changes nothing") {
  for (const char* precision : {"float32", "int8"}) {
    for (const std::string& name : golden_names("encoder")) {
      CAPTURE(name);
      auto n = network(convert_golden(name, precision));
      const size_t longest = n->max_length();
      for (const size_t length : {size_t{1}, size_t{9}, longest - 3}) {
        std::vector<std::vector<int32_t>> tokens;
        std::vector<int32_t> mask(longest, 0);
        std::fill_n(mask.begin(), length, 1);
        std::vector<Document> padded, alone;
        for (uint32_t j = 0; j < n->documents(); ++j) tokens.push_back(random_tokens(longest, 40, j));
        for (const auto& t : tokens)
          padded.push_back({t.data(), longest, mask.data()}), alone.push_back({t.data(), length});
        CHECK(logits_of(*n, padded) == logits_of(*n, alone));
      }
    }
  }
}

TEST_CASE("int8: the same bits with any number of threads and every kernel set, alone or among others") {
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  for (EncoderCase c : cases()) {
    CAPTURE(std::string(c.name));
    c.max_length = 300;
    auto model = random_encoder(c, Precision::kInt8);
    auto first = network(model, 1, "scalar");
    const size_t lengths[] = {300, 1, 17, 120, 64, 300};
    const size_t inputs = 6 / first->documents();
    const std::vector<int32_t> tokens = random_tokens(802, c.vocabulary, 5);
    std::vector<float> expected(inputs * first->classes());
    REQUIRE(first->run(tokens.data(), lengths, inputs, expected.data()).ok());
    for (size_t i = 0; i < count; ++i) {
      const size_t threads = i == 0 ? 2 : 1;  // the best set also in parallel
      CAPTURE(std::string(sets[i]->isa));
      std::vector<float> got(expected.size());
      REQUIRE(network(model, threads, sets[i]->isa)->run(tokens.data(), lengths, inputs, got.data()).ok());
      CHECK(got == expected);
    }
    const size_t one = first->documents();
    std::vector<float> last(first->classes());
    REQUIRE(first->run(tokens.data() + 502 - (one == 2 ? 64 : 0), lengths + 6 - one, 1, last.data()).ok());
    CHECK(std::equal(last.begin(), last.end(), expected.end() - last.size()));
  }
}

#ifdef LSRT_COUNT_ALLOCATIONS
TEST_CASE("documents of any length and mask allocate nothing") {
  for (const bool int8 : {false, true}) {
    EncoderCase c;
    c.mixer = {"long-short", "full"}, c.cls_last_layer = true, c.kernel = 5, c.max_length = 500;
    auto n = network(random_encoder(c, int8 ? Precision::kInt8 : Precision::kFloat32));
    const std::vector<int32_t> tokens = random_tokens(500, c.vocabulary, 9);
    std::vector<int32_t> mask(500);
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = i % 7 != 0;
    std::vector<float> logits(n->classes());
    // XNNPACK, the float path, plans a number of rows when it first sees it.
    const Document documents[] = {
        {tokens.data(), 500}, {tokens.data(), 500, mask.data()}, {tokens.data(), 20}};
    for (const Document& document : documents) REQUIRE(n->run(&document, logits.data(), nullptr).ok());
    const size_t before = allocations;
    for (const Document& document : documents) (void)n->run(&document, logits.data(), nullptr);
    const size_t after = allocations;
    CHECK(after == before);
  }
}
#endif

TEST_CASE("what does not fit is refused by name") {
  auto n = network(random_encoder({}, Precision::kInt8));
  std::vector<float> logits(n->classes());
  const std::vector<int32_t> tokens(60, 3), bad = {1, 40}, none = {0, 0};
  auto message = [&](const Document& document) {
    const Status status = n->run(&document, logits.data(), nullptr);
    CHECK(status.code() == Error::kArgument);
    return status.message();
  };
  CHECK(message({tokens.data(), 0}) == "document 0 has 0 tokens, must have 1 to 50");
  CHECK(message({tokens.data(), 51}) == "document 0 has 51 tokens, must have 1 to 50");
  CHECK(message({bad.data(), 2}) == "token 1 of document 0 is 40, the vocabulary has ids 0 to 39");
  CHECK(message({tokens.data(), 2, none.data()}) == "document 0 has no token that is not masked");
  const size_t lengths[] = {2, 0};
  CHECK(n->run(tokens.data(), lengths, 2, logits.data()).message() ==
        "document 1 has 0 tokens, must have 1 to 50");
}

TEST_CASE("a trained model: int8 finds as many authors as float32") {
  if (std::getenv("LSRT_MODELS")) {
    MESSAGE("skipped: a trained model takes minutes here, emulated or watched");
    return;
  }
  const std::string folder = shared_path("data/authors/test");
  if (!std::filesystem::exists(folder)) {
    MESSAGE("skipped: no " << folder);
    return;
  }
  std::vector<std::string> classes;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    classes.push_back(entry.path().string());
  std::sort(classes.begin(), classes.end());
  double right[2] = {};
  size_t passages = 0;
  for (const bool int8 : {false, true}) {
    ConvertOptions options;
    options.precision = int8 ? Precision::kInt8 : Precision::kFloat32;
    auto model = convert_checkpoint(shared_path("checkpoints/authors.model"), options);
    auto n = network(model);
    passages = 0;
    for (size_t label = 0; label < classes.size(); ++label) {
      for (const auto& entry : std::filesystem::directory_iterator(classes[label])) {
        std::ifstream file(entry.path(), std::ios::binary);
        std::vector<int32_t> tokens;
        for (int byte; tokens.size() < n->max_length() && (byte = file.get()) != EOF;) {
          tokens.push_back(byte + model->sequence.byte_offset);
        }
        const std::vector<float> logits = logits_of(*n, {{tokens.data(), tokens.size()}});
        right[int8] +=
            std::max_element(logits.begin(), logits.end()) == logits.begin() + static_cast<long>(label);
        ++passages;
      }
    }
  }
  const double float32 = 100 * right[0] / static_cast<double>(passages),
               int8 = 100 * right[1] / static_cast<double>(passages);
  MESSAGE("top-1 of " << passages << " passages: float32 " << float32 << " %, int8 " << int8 << " %");
  CHECK(float32 == 22.5);
  CHECK(std::fabs(int8 - float32) <= 1);
}
