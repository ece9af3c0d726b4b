// Streams whose windows are longer than a step, and longer than the stream is yet: the zero past and the real
// rows then lie side by side in the scores.
#include <doctest/doctest.h>

#include "converter/random_model.h"
#include "runtime/device/cpu/causal.h"
#include "runtime/text/session.h"
#include "tests/support/backends.h"
#include "tests/support/naive_causal.h"
#include "tests/support/take.h"
#include "tests/support/tiny_models.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

// memory is also the window of full layers. window 0: every layer is full.
std::shared_ptr<const Model> stream_model(uint32_t window, uint32_t memory, Precision precision) {
  LmParameters p = tiny_lm_parameters();
  p.window = window, p.block = 256, p.memory = memory;
  p.chunk = 16, p.rank = 1;
  if (window == 0) {
    p.window = 16;
    p.full = {true, true};
  }
  auto bytes = take(random_model(plan_lm(p, WeightSource()), precision));
  return take(Model::load_bytes(std::move(bytes), "test"));
}

std::vector<float> run(const std::shared_ptr<const Model>& model, size_t tokens, size_t max_batch) {
  CausalOptions options;
  options.max_rows = max_batch;
  auto session = take(Session::create(cpu(model), options));
  std::vector<int32_t> text(tokens);
  for (size_t i = 0; i < tokens; ++i) text[i] = static_cast<int32_t>((i * i + i / 7) % session->vocabulary());
  std::vector<float> out(tokens * session->vocabulary());
  REQUIRE(session->feed(text.data(), tokens, Session::Output::kAll, out.data()).ok());
  return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("the size of a step changes no bit, whatever the window") {
  const struct {
    uint32_t window, memory;
    size_t tokens;
  } cases[] = {{512, 1024, 1100}, {700, 1024, 1100}, {0, 1024, 1400}, {0, 2048, 2500}};
  for (const auto& c : cases) {
    for (const Precision precision : {Precision::kInt8, Precision::kFloat32}) {
      CAPTURE(c.window);
      CAPTURE(c.memory);
      CAPTURE(precision == Precision::kInt8);
      auto model = stream_model(c.window, c.memory, precision);
      const std::vector<float> whole = run(model, c.tokens, 256);
      const bool exact = precision == Precision::kInt8;
      const std::vector<size_t> sizes =
          exact ? std::vector<size_t>{1, 5, 12, 64, 128} : std::vector<size_t>{64};
      for (const size_t max_batch : sizes) {
        CAPTURE(max_batch);
        const std::vector<float> got = run(model, c.tokens, max_batch);
        if (exact) {
          CHECK(same_bits(whole, got));
          continue;
        }
        float largest = 0;  // XNNPACK has other kernels for few rows
        size_t numbers = 0;
        for (size_t i = 0; i < got.size(); ++i) {
          const float difference = std::fabs(whole[i] - got[i]);
          largest = std::max(largest, difference);
          numbers += std::isfinite(difference);
        }
        CHECK(numbers == whole.size());
        CHECK(largest < 1e-5f);
      }
    }
  }
}

TEST_CASE("a window of 700 and full layers of 1024 equal plain double precision") {
  const struct {
    uint32_t window, memory;
    size_t tokens;
  } cases[] = {{700, 1024, 1100}, {0, 1024, 1100}};
  for (const auto& c : cases) {
    CAPTURE(c.window);
    auto model = stream_model(c.window, c.memory, Precision::kFloat32);
    const std::vector<float> got = run(model, c.tokens, 0);
    naive::CausalStream reference(*model);
    const size_t vocabulary = model->vocabulary.size();
    size_t near = 0;
    for (size_t i = 0; i < c.tokens; ++i) {
      const naive::Row expected =
          reference.feed(static_cast<int32_t>((i * i + i / 7) % model->vocabulary.size()));
      for (size_t v = 0; v < vocabulary; ++v) near += std::fabs(expected[v] - got[i * vocabulary + v]) < 2e-4;
    }
    CHECK(near == got.size());
  }
}

TEST_CASE("no task has more columns than its memory was counted for") {
  for (const size_t window : {1, 7, 16, 100, 513}) {
    for (const size_t max_rows : {1, 3, 12, 64}) {
      for (const size_t rank : {0, 1, 3}) {
        CausalShape s{};
        s.heads = 1, s.head_dim = 4, s.window = window, s.chunk = 4, s.rank = rank;
        s.block = 64, s.memory = 520, s.max_rows = max_rows, s.int8 = true;
        Carver nowhere(nullptr);
        const CausalState<Int8Cache> state(s, &nowhere);
        for (uint64_t position = 0; position < 1500; ++position) {
          const uint64_t last =
              std::min(position + std::min<size_t>(12, max_rows), (position / 64 + 1) * 64) - 1;
          const auto summaries = summary_segments(state, s, CausalView(s, position), last / s.chunk);
          const auto rows = window_segments(state, s, position, last);
          REQUIRE(summaries.columns <= most_summary_columns<Int8Cache>(s));
          REQUIRE(rows.columns <= most_window_columns<Int8Cache>(s, last - position + 1));
          REQUIRE(summaries.count <= kMaxSegments);
          REQUIRE(rows.count <= kMaxSegments);
        }
      }
    }
  }
}
