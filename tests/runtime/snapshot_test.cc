// Saved streams: going on is as if never stopped, in whatever session; one form of bytes; nothing hostile
// gets in.
#include "runtime/text/snapshot.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <limits>
#include <map>
#include <thread>

#include "base/digest.h"
#include "kernels/dispatch.h"
#include "runtime/device/causal_exchange.h"
#include "tests/support/backends.h"
#include "tests/support/files.h"
#include "tests/support/streams.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

constexpr size_t kBatches[] = {1, 5, 12, 64, 256};

// Sessions of one model that differ in all that must not matter: the i-th of them.
std::unique_ptr<Session> some_session(const std::shared_ptr<const Model>& model, size_t i) {
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  CausalOptions options;
  options.max_rows = kBatches[i % 5];
  // The pool of the float products waits for all its threads at each of them, which takes long on a machine
  // at work.
  options.threads = model->is_int8() ? 1 + i % 3 : 1 + i % 8 / 7;
  return take(Session::create(cpu(model, sets[i % count]->isa), options));
}

std::string name_of(Precision precision) { return precision == Precision::kInt8 ? " int8: " : " float32: "; }

struct Geometry {
  LmParameters parameters;
  std::vector<size_t> offsets;  // where streams are saved
};

// Rings of window and memory wrap more than once in either; every kind of layer: with summaries, window and
// both, and one without summaries that sees the whole memory.
Geometry every_offset() {
  LmParameters p = tiny_lm_parameters();
  p.layers = 3, p.chunk = 4, p.rank = 2, p.window = 6, p.block = 16, p.memory = 32;
  p.full = {false, true, false};
  Geometry g{p, {}};
  for (size_t n = 0; n <= 150; ++n) g.offsets.push_back(n);
  return g;
}

Geometry long_blocks() {
  LmParameters p = tiny_lm_parameters();
  p.layers = 2, p.chunk = 16, p.rank = 1, p.window = 40, p.block = 256, p.memory = 512;
  p.full = {false, true};
  Geometry g{p, {}};
  for (const size_t mark : {16, 40, 256, 512, 768, 1280}) {
    for (size_t n = mark - 2; n <= mark + 2; ++n) g.offsets.push_back(n);
  }
  return g;
}

}  // namespace

TEST_CASE("a loaded stream goes on with the same bits in any session, and is saved as the same bytes") {
  for (const Geometry& geometry : {every_offset(), long_blocks()}) {
    for (const Precision precision : {Precision::kInt8, Precision::kFloat32}) {
      CAPTURE(geometry.parameters.block);
      CAPTURE(precision == Precision::kInt8);
      const auto model = random_lm(geometry.parameters, precision);
      const size_t n_after = precision == Precision::kInt8 ? 40 : 20, vocabulary = model->vocabulary.size();
      const std::vector<int32_t> tokens = some_tokens(geometry.offsets.back() + n_after, vocabulary);
      // Float sums depend on how many rows are computed together: token by token everywhere.
      const size_t piece = precision == Precision::kInt8 ? 256 : 1;
      std::vector<float> all(tokens.size() * vocabulary);
      auto reference = some_session(model, 4);
      feed(*reference, tokens.data(), tokens.size(), piece, all.data());

      auto source = some_session(model, 2), other = some_session(model, 3);
      std::map<size_t, std::unique_ptr<Session>> targets;
      std::vector<float> got(n_after * vocabulary);
      size_t failures = 0, most = 0, tried = 0;
      for (const size_t offset : geometry.offsets) {
        CAPTURE(offset);
        for (Session* s : {source.get(), other.get()}) {
          feed(*s, tokens.data() + s->position(), offset - s->position(), piece);
        }
        const std::vector<uint8_t> saved = saved_bytes(*source);
        most = std::max(most, saved.size());
        CHECK(saved_bytes(*other) == saved);
        for (const size_t i : {tried % 15, (tried + 7) % 15}) {
          auto& target = targets[i];
          if (!target) target = some_session(model, i);
          REQUIRE(target->load(saved.data(), saved.size(), "state", nullptr).ok());
          CHECK(target->position() == offset);
          CHECK(saved_bytes(*target) == saved);
          feed(*target, tokens.data() + offset, n_after, piece, got.data());
          failures +=
              std::memcmp(got.data(), all.data() + offset * vocabulary, got.size() * sizeof(float)) != 0;
          ++tried;
        }
      }
      CHECK(failures == 0);
      MESSAGE("block " << geometry.parameters.block << name_of(precision) << tried
                       << " states went on, the largest of " << most << " bytes");
    }
  }
}

TEST_CASE("the size of a state has a bound, which is reached") {
  for (const Geometry& geometry : {every_offset(), long_blocks()}) {
    const auto model = random_lm(geometry.parameters, Precision::kInt8);
    auto s = some_session(model, 4);
    const size_t bound = s->memory_use().exchange_bytes + snapshot_overhead(nullptr);
    size_t largest = 0;
    const std::vector<int32_t> token = {4};
    for (size_t n = 0; n < 4 * geometry.parameters.memory; ++n) {
      feed(*s, token.data(), 1, 1);
      const size_t bytes = s->snapshot_bytes(nullptr);
      largest = std::max(largest, bytes);
    }
    CHECK(largest == bound);
    CausalShape shape{};
    shape.heads = 3, shape.head_dim = 5, shape.window = 9, shape.chunk = 4, shape.rank = 2, shape.int8 = true;
    shape.block = 20, shape.memory = 12;
    for (uint64_t p = 0; p < 200; ++p)
      CHECK(CausalExchange(shape, p).bytes <= CausalExchange::most_bytes(shape));
  }
}

TEST_CASE("the state in a file is the state in memory; old and damaged files are refused by name") {
  const auto model = random_lm(every_offset().parameters, Precision::kInt8);
  auto s = some_session(model, 1);
  const std::vector<int32_t> tokens = some_tokens(77, model->vocabulary.size());
  feed(*s, tokens.data(), tokens.size(), 256);
  const TemporaryFolder folder;
  const std::string path = folder / "state";
  REQUIRE(s->save_file(path, nullptr).ok());
  const std::vector<uint8_t> saved = saved_bytes(*s);
  CHECK(read_file(path) == std::string(saved.begin(), saved.end()));
  s->reset();
  REQUIRE(s->load_file(path, nullptr).ok());
  CHECK(saved_bytes(*s) == saved);

  auto refused = [&](std::vector<uint8_t> bytes, Error code, const std::string& why) {
    write_file(path, std::string(bytes.begin(), bytes.end()));
    const Status status = s->load_file(path, nullptr);
    CHECK(status.code() == code);
    CAPTURE(status.message());
    CHECK(status.message().find(why) != std::string::npos);
    CHECK(status.message().find(path) == 0);
    CHECK(saved_bytes(*s) == saved);
  };
  std::vector<uint8_t> bytes = saved;
  bytes[8] = 1;
  refused(bytes, Error::kVersion, "of format 1, this version reads format 2");
  bytes[8] = 3;
  refused(bytes, Error::kVersion, "of format 3, this version reads format 2");
  for (size_t size = 0; size < saved.size(); size += 1 + size / 3) {
    bytes.assign(saved.begin(), saved.begin() + static_cast<std::ptrdiff_t>(size));
    if (size) refused(bytes, Error::kModel, size < 12 ? "is not a saved state" : "damaged or incomplete");
  }
  bytes = saved;
  bytes.resize(saved.size() + 9);
  refused(bytes, Error::kModel, "damaged or incomplete");
  bytes.resize(size_t{64} << 20);
  refused(bytes, Error::kModel, "damaged or incomplete");
  for (size_t at = 12; at < saved.size(); at += 1 + at / 9) {
    bytes = saved;
    bytes[at] ^= 0x10;
    refused(bytes, Error::kModel, "damaged or incomplete");
  }
}

TEST_CASE("a state belongs to a model, a block and a memory") {
  const LmParameters parameters = every_offset().parameters;
  const auto model = random_lm(parameters, Precision::kInt8);
  auto s = some_session(model, 1);
  const std::vector<int32_t> tokens = some_tokens(50, model->vocabulary.size());
  feed(*s, tokens.data(), tokens.size(), 256);
  const std::vector<uint8_t> saved = saved_bytes(*s);
  auto load_into = [&](const std::shared_ptr<const Model>& other, size_t block, size_t memory) {
    CausalOptions options;
    options.block = block, options.memory = memory;
    auto session = take(Session::create(cpu(other), options));
    const Status status = session->load(saved.data(), saved.size(), "state", nullptr);
    CHECK(session->position() == (status.ok() ? 50 : 0));
    return status;
  };
  CHECK(load_into(model, 0, 0).ok());
  CHECK(load_into(random_lm(parameters, Precision::kInt8), 0, 0).ok());  // the same model again
  CHECK(load_into(model, 32, 0).message().find("block 16 and memory 32, this session has 32 and 32") !=
        std::string::npos);
  CHECK(load_into(model, 0, 64).message().find("this session has 16 and 64") != std::string::npos);
  LmParameters relu = parameters, post = parameters, clamp = parameters, words = parameters;
  relu.gelu = false, post.pre_ln = false, clamp.clamp = 3, words.vocabulary[4] = "z";
  for (const LmParameters& other : {relu, post, clamp, words}) {
    CHECK(load_into(random_lm(other, Precision::kInt8), 0, 0).message() ==
          "state: is the state of another model");
  }
}

TEST_CASE("the fingerprint holds every weight, but neither golden nor provenance") {
  const LmParameters parameters = tiny_lm_parameters();
  for (const Precision precision : {Precision::kInt8, Precision::kFloat32}) {
    const ModelBytes bytes = take(random_model(plan_lm(parameters, WeightSource()), precision));
    const auto print = [](const ModelBytes& b) { return take(Model::load_bytes(b, "model"))->fingerprint(); };
    ModelBytes owned = bytes;
    const uint8_t* start = owned.data();  // stays when the model takes the bytes over
    const auto model = take(Model::load_bytes(std::move(owned), "model"));
    size_t tried = 0;
    for (const TensorView& tensor : model->tensors()) {
      const bool is_float = tensor.type == DataType::kFloat32;
      if (!is_float && tensor.type != DataType::kInt8) continue;
      const float* values = is_float ? tensor.floats() : tensor.scales;
      const size_t count = is_float ? tensor.elements() : tensor.shape[tensor.rank - 2];
      for (const size_t i : {size_t{0}, count / 2, count - 1}) {
        ModelBytes changed = bytes;
        changed[static_cast<size_t>(reinterpret_cast<const uint8_t*>(values + i) - start)] ^= 1;
        CHECK(print(changed) != model->fingerprint());
        ++tried;
      }
    }
    CHECK(tried > 60);
    TinyOptions plain, golden;
    golden.golden = true;
    CHECK(print(tiny_lm(precision, plain)) == print(tiny_lm(precision, golden)));
  }
}

namespace {

// A state as somebody makes it up who knows the format.
void sign(std::vector<uint8_t>* bytes) {
  Digest digest;
  const size_t end = bytes->size() - sizeof(uint64_t);
  digest.update(bytes->data(), end);
  const uint64_t value = digest.value();
  std::memcpy(bytes->data() + end, &value, sizeof value);
}

template <typename T>
void put(std::vector<uint8_t>* bytes, size_t at, T value) {
  if (at + sizeof value <= bytes->size()) std::memcpy(bytes->data() + at, &value, sizeof value);
}

// One to four changes of places and kinds that random() chooses; then signed again.
std::vector<uint8_t> damaged(std::vector<uint8_t> bytes, std::mt19937* random) {
  const auto pick = [&](size_t n) { return (*random)() % n; };
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  const float floats[] = {nan, infinity, -infinity, -1, 1e-42f, 3e38f, -0.0f, 0, 1e30f};
  const uint64_t words[] = {0, 1, 15, 16, 17, 255, uint64_t{1} << 31, uint64_t{1} << 48, ~uint64_t{0}};
  for (size_t changes = 1 + pick(4); changes > 0; --changes) {
    const size_t at = pick(3) ? pick(bytes.size()) : pick(64);
    switch (pick(6)) {
      case 0:
        bytes[at] = static_cast<uint8_t>(pick(256));
        break;
      case 1:
        put(&bytes, at / 4 * 4, floats[pick(9)]);
        break;
      case 2:
        put(&bytes, at / 8 * 8, words[pick(9)]);
        break;
      case 3:
        put(&bytes, bytes.size() - 8 - 4 * (1 + pick(20)), static_cast<uint32_t>((*random)()));
        break;
      case 4:
        std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), std::min(bytes.size() - at, pick(300)),
                    static_cast<uint8_t>(pick(256)));
        break;
      case 5:
        if (pick(8) == 0) bytes.resize(64 + pick(bytes.size()));
        break;
    }
  }
  sign(&bytes);
  return bytes;
}

}  // namespace

TEST_CASE("made-up states with a right digest are refused whole or give numbers") {
  LmParameters parameters = every_offset().parameters;
  SamplerParams penalized;
  penalized.repeat_penalty = 1.2f, penalized.repeat_window = 8;
  std::mt19937 random(11);
  for (const Precision precision : {Precision::kInt8, Precision::kFloat32}) {
    const auto model = random_lm(parameters, precision);
    const size_t vocabulary = model->vocabulary.size();
    const std::vector<int32_t> tokens = some_tokens(120, vocabulary);
    std::vector<float> logprobs(20 * vocabulary);
    auto source = some_session(model, 4), victim = some_session(model, 4), scalar = some_session(model, 0);
    Sampler sampler = take(Sampler::create(model->vocabulary, penalized)), own = sampler;
    std::vector<std::vector<uint8_t>> good;
    for (const size_t n : {5, 16, 31, 67, 95}) {
      feed(*source, tokens.data() + source->position(), n - source->position(), 256);
      for (size_t i = 0; i < n; ++i) sampler.accept(4 + static_cast<int32_t>(i % 4));
      good.push_back(saved_bytes(*source, &sampler));
    }
    feed(*victim, tokens.data(), 40, 256);
    own.accept(5);
    size_t accepted = 0, refused = 0, differ = 0;
    for (size_t i = 0; i < 3000; ++i) {
      const std::vector<uint8_t> bytes = damaged(good[i % good.size()], &random);
      const std::vector<uint8_t> before = saved_bytes(*victim, &own);
      const Status status = victim->load(bytes.data(), bytes.size(), "state", &own);
      if (!status.ok()) {
        ++refused;
        CHECK(saved_bytes(*victim, &own) == before);  // session and sampler as they were
        continue;
      }
      ++accepted;
      feed(*victim, tokens.data(), 20, 256, logprobs.data());
      (void)own.sample(logprobs.data() + 19 * vocabulary);
      // What gets in computes the same everywhere, too.
      if (precision == Precision::kInt8 && i % 8 == 0) {
        std::vector<float> other(logprobs.size());
        REQUIRE(scalar->load(bytes.data(), bytes.size(), "state", nullptr).ok());
        feed(*scalar, tokens.data(), 20, 1, other.data());
        differ += std::memcmp(other.data(), logprobs.data(), other.size() * sizeof(float)) != 0;
      }
    }
    MESSAGE(name_of(precision) << accepted << " accepted and run, " << refused << " refused");
    CHECK(accepted > 300);
    CHECK(refused > 300);
    CHECK(differ == 0);
  }
}

TEST_CASE("values that no stream can have are refused, one by one") {
  const auto model = random_lm(every_offset().parameters, Precision::kInt8);
  auto s = some_session(model, 4);
  const std::vector<int32_t> tokens = some_tokens(77, model->vocabulary.size());
  feed(*s, tokens.data(), tokens.size(), 256);
  const std::vector<uint8_t> saved = saved_bytes(*s);
  CausalShape shape{};
  shape.heads = 2, shape.head_dim = 16, shape.window = 6, shape.chunk = 4, shape.rank = 2;
  shape.block = 16, shape.memory = 32, shape.int8 = true;
  const CausalExchange exchange(shape, 77);  // of the first layer
  const auto loads = [&](const std::vector<uint8_t>& bytes) {
    std::vector<uint8_t> made = bytes;
    sign(&made);
    return s->load(made.data(), made.size(), "state", nullptr).ok();
  };
  for (const ExchangedRows& rows : {exchange.window, exchange.memory, exchange.block}) {
    REQUIRE(rows.count > 0);
    for (const size_t at : {rows.key_scales, rows.value_scales + (rows.count * 2 - 1) * 4}) {
      for (const float bad : {-1.0f, -0.0f, 1e-40f, std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN()}) {
        std::vector<uint8_t> bytes = saved;
        put(&bytes, sizeof(SnapshotHeader) + at, bad);
        CHECK(!loads(bytes));
      }
      std::vector<uint8_t> bytes = saved;
      put(&bytes, sizeof(SnapshotHeader) + at, 0.5f);
      CHECK(loads(bytes));
    }
    for (const size_t at : {rows.keys, rows.values + rows.count * 32 - 1}) {
      std::vector<uint8_t> bytes = saved;
      bytes[sizeof(SnapshotHeader) + at] = 0x80;
      CHECK(!loads(bytes));
      bytes[sizeof(SnapshotHeader) + at] = 0x81;
      CHECK(loads(bytes));
    }
  }
  std::vector<uint8_t> bytes = saved;
  put(&bytes, offsetof(SnapshotHeader, position), uint64_t{77 + 16});  // as many bytes, full memory
  CHECK(loads(bytes));
  put(&bytes, offsetof(SnapshotHeader, position), (uint64_t{1} << 48) + 13);
  CHECK(!loads(bytes));
}

TEST_CASE("a sampler's state goes to samplers of its vocabulary only") {
  const auto model = random_lm(every_offset().parameters, Precision::kInt8);
  SamplerParams params;
  params.repeat_penalty = 1.3f;
  Sampler large = take(Sampler::create(model->vocabulary, params));
  Sampler small = take(Sampler::create({"a", "b", "c"}, params));
  auto s = some_session(model, 4);
  const std::vector<int32_t> tokens = some_tokens(30, model->vocabulary.size());
  feed(*s, tokens.data(), tokens.size(), 256);
  large.accept(9);
  const std::vector<uint8_t> saved = saved_bytes(*s, &large);
  s->reset();
  small.accept(1);
  const Status status = s->load(saved.data(), saved.size(), "state", &small);
  CHECK(status.code() == Error::kModel);
  CHECK(status.message().find("token is 9") != std::string::npos);
  CHECK(s->position() == 0);
  CHECK(small.last() == 1);
  CHECK(small.sample(std::vector<float>(3, -1.0f).data()).ok());
  CHECK(s->load(saved.data(), saved.size(), "state", &large).ok());
  const std::vector<uint8_t> without = saved_bytes(*s);
  CHECK(s->load(without.data(), without.size(), "state", &large).message() ==
        "state: was saved without a sampler");
}

TEST_CASE("a file that changes while it is loaded is an error at worst") {
  const auto model = random_lm(every_offset().parameters, Precision::kInt8);
  auto s = some_session(model, 4);
  const std::vector<int32_t> tokens = some_tokens(95, model->vocabulary.size());
  feed(*s, tokens.data(), tokens.size(), 256);
  const TemporaryFolder folder;
  const std::string path = folder / "state";
  REQUIRE(s->save_file(path, nullptr).ok());
  const std::string bytes = read_file(path);
  std::atomic<bool> done{false};
  std::thread writer([&] {
    while (!done) {
      std::filesystem::resize_file(path, 100);
      std::ofstream(path, std::ios::binary | std::ios::in)
          .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    }
  });
  size_t loaded = 0, refused = 0;
  for (size_t i = 0; i < 1000; ++i) {
    (s->load_file(path, nullptr).ok() ? loaded : refused) += 1;
  }
  done = true;
  writer.join();
  CHECK(loaded + refused == 1000);
  CHECK(saved_bytes(*s) == std::vector<uint8_t>(bytes.begin(), bytes.end()));
}
