// Streams of small language models with random weights.
#pragma once

#include <algorithm>
#include <random>
#include <vector>

#include "converter/random_model.h"
#include "runtime/text/session.h"
#include "tests/support/take.h"
#include "tests/support/tiny_models.h"

namespace lsrt_test {

inline std::shared_ptr<const lsrt::Model> random_lm(const lsrt::LmParameters& parameters,
                                                    lsrt::Precision precision) {
  auto bytes = take(lsrt::random_model(lsrt::plan_lm(parameters, lsrt::WeightSource()), precision));
  return take(lsrt::Model::load_bytes(std::move(bytes), "random model"));
}

// From a fixed generator.
inline std::vector<int32_t> some_tokens(size_t n, size_t vocabulary) {
  std::mt19937 random(7);
  std::vector<int32_t> tokens(n);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % vocabulary);
  return tokens;
}

// Feeds n tokens, `piece` at a time; out, unless null: all log-probabilities.
inline void feed(lsrt::Session& session, const int32_t* tokens, size_t n, size_t piece,
                 float* out = nullptr) {
  using Output = lsrt::Session::Output;
  for (size_t done = 0; done < n; done += piece) {
    const size_t count = std::min(piece, n - done);
    float* rows = out ? out + done * session.vocabulary() : nullptr;
    REQUIRE(session.feed(tokens + done, count, out ? Output::kAll : Output::kNone, rows).ok());
  }
}

inline std::vector<uint8_t> saved_bytes(lsrt::Session& session, const lsrt::Sampler* sampler = nullptr) {
  std::vector<uint8_t> bytes(session.snapshot_bytes(sampler));
  REQUIRE(session.save(sampler, bytes.data()).ok());
  return bytes;
}

}  // namespace lsrt_test
