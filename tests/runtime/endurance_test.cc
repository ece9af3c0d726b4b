// Long runs: nothing grows and nothing drifts, past 2^32 tokens, over many sessions. LSRT_TOKENS=COUNT: how
// many tokens the longest stream has.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/digest.h"
#include "base/redzone.h"
#include "runtime/text/snapshot.h"
#include "tests/support/backends.h"
#include "tests/support/streams.h"
#ifdef LSRT_ASAN
extern "C" size_t __sanitizer_get_current_allocated_bytes();  // GCC has no header for it
#endif

using namespace lsrt;
using namespace lsrt_test;

namespace {

// Layers of every kind, with rings that wrap all the time.
std::shared_ptr<const Model> small_model() {
  LmParameters p = tiny_lm_parameters();
  p.layers = 2, p.chunk = 4, p.rank = 2, p.window = 6, p.block = 16, p.memory = 32;
  p.full = {false, true};
  return random_lm(p, Precision::kInt8);
}

std::unique_ptr<Session> stream(const std::shared_ptr<const Model>& model) {
  return take(Session::create(cpu(model), CausalOptions()));
}

uint64_t digest_of(const std::vector<float>& values) {
  Digest digest;
  digest.update(values.data(), values.size() * sizeof(float));
  return digest.value();
}

// What this process holds now: resident memory, or under AddressSanitizer, which keeps in quarantine what was
// freed, what is allocated.
size_t held_bytes() {
#ifdef LSRT_ASAN
  return __sanitizer_get_current_allocated_bytes();
#else
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (!file) return 0;
  size_t all = 0, resident = 0;
  const int found = std::fscanf(file, "%zu %zu", &all, &resident);
  std::fclose(file);
  return found == 2 ? resident * 4096 : 0;
#endif
}

}  // namespace

TEST_CASE("a stream that repeats itself gives the same outputs for ever, in constant memory") {
  const auto model = small_model();
  const auto session = stream(model);
  const char* text = std::getenv("LSRT_TOKENS");
  const size_t period = 160, count = (text ? std::strtoull(text, nullptr, 10) : 200000) / period;
  const std::vector<int32_t> tokens = some_tokens(period, model->vocabulary.size());
  std::vector<float> outputs(period * model->vocabulary.size());
  // What a layer sees ends with its memory, so what two layers see ends as well.
  for (int i = 0; i < 3; ++i) feed(*session, tokens.data(), period, period, outputs.data());
  const uint64_t expected = digest_of(outputs);
  const size_t state = session->memory_use().state_bytes, held = held_bytes();
  size_t others = 0;
  for (size_t i = 0; i < count; ++i) {
    feed(*session, tokens.data(), period, i % 2 ? period : 7, outputs.data());
    others += digest_of(outputs) != expected;
  }
  MESSAGE(session->position() << " tokens, memory held " << held << " -> " << held_bytes());
  CHECK(session->position() == (count + 3) * period);
  CHECK(others == 0);
  CHECK(session->memory_use().state_bytes == state);
  CHECK(held_bytes() <= held + (1 << 20));
}

TEST_CASE("positions past 2^32 are as any others") {
  const auto model = small_model();
  const auto near = stream(model), far = stream(model);
  const size_t vocabulary = model->vocabulary.size();
  const std::vector<int32_t> tokens = some_tokens(2000, vocabulary);
  feed(*near, tokens.data(), 320, 320);
  // The same state, at a place in its block and rings that is the same.
  std::vector<uint8_t> state = saved_bytes(*near);
  SnapshotHeader header;
  std::memcpy(&header, state.data(), sizeof header);
  REQUIRE(header.position == 320);
  header.position = (uint64_t{1} << 32) - 960;
  seal_snapshot(header, nullptr, state.data());
  REQUIRE(far->load(state.data(), state.size(), "far", nullptr).ok());
  std::vector<float> expected(2000 * vocabulary), got(expected.size());
  feed(*near, tokens.data(), 2000, 50, expected.data());
  feed(*far, tokens.data(), 2000, 77, got.data());
  CHECK(far->position() == (uint64_t{1} << 32) + 1040);
  CHECK(std::memcmp(expected.data(), got.data(), expected.size() * sizeof(float)) == 0);
  std::vector<uint8_t> one = saved_bytes(*near), two = saved_bytes(*far);
  REQUIRE(one.size() == two.size());
  std::memcpy(&header, two.data(), sizeof header);
  CHECK(header.position == far->position());
  CHECK(std::memcmp(&one[sizeof header], &two[sizeof header],
                    one.size() - sizeof header - sizeof(uint64_t)) == 0);
}

TEST_CASE("a thousand sessions leave nothing behind") {
  const auto model = small_model();
  const std::vector<int32_t> tokens = some_tokens(40, model->vocabulary.size());
  size_t held = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto session = stream(model);
    feed(*session, tokens.data(), tokens.size(), 16);
    if (i == 100) held = held_bytes();
  }
  MESSAGE("memory held " << held << " -> " << held_bytes());
  CHECK(held_bytes() <= held + (1 << 20));
}
