#include <algorithm>

#include "cli/bench.h"
#include "runtime/device/threads.h"
#include "runtime/text/session.h"

namespace lsrt::tool {
namespace {

constexpr size_t kFillPiece = 4096;  // tokens fed at a time on the way to a depth

class TextBench {
 public:
  TextBench(const Bench& bench, Session* session)
      : options_(bench.options),
        profiler_(bench.profiler.get()),
        session_(*session),
        logprobs_(session->vocabulary()) {}

  Status feed(size_t n, Session::Output output) {
    tokens_.resize(n);
    for (int32_t& token : tokens_) {
      token = static_cast<int32_t>(random_.below(static_cast<uint32_t>(session_.vocabulary())));
    }
    return session_.feed(tokens_.data(), n, output, logprobs_.data(), [](size_t) { return !interrupted(); });
  }

  Status run(std::vector<BenchRow>* rows) {
    std::vector<uint64_t> depths = options_.depths;
    std::sort(depths.begin(), depths.end());
    for (uint64_t depth : depths) {
      BenchRow prompt{"prompt", depth, options_.prompt, {}, {}};
      BenchRow decode{"decode", depth, options_.generate, {}, {}};
      LSRT_TRY(go_to(depth));
      for (uint32_t i = 0; i < options_.repetitions; ++i) {
        if (depth == 0) session_.reset();
        if (decode.n) LSRT_TRY(timed(&decode, profiler_, [&] { return one_by_one(decode.n); }));
        if (depth == 0) session_.reset();
        if (prompt.n) {
          LSRT_TRY(timed(&prompt, profiler_, [&] { return feed(prompt.n, Session::Output::kLast); }));
        }
      }
      if (prompt.n) rows->push_back(std::move(prompt));
      if (decode.n) rows->push_back(std::move(decode));
    }
    return Status();
  }

 private:
  // To `depth` tokens fed. The tests before may have gone further: then from the start.
  Status go_to(uint64_t depth) {
    if (session_.position() > depth) session_.reset();
    const uint64_t start = session_.position();
    Progress progress(format("feeding %llu tokens", static_cast<unsigned long long>(depth - start)));
    while (session_.position() < depth) {
      LSRT_TRY(feed(std::min<uint64_t>(kFillPiece, depth - session_.position()), Session::Output::kNone));
      progress.update(session_.position() - start, depth - start);
    }
    return Status();
  }

  Status one_by_one(uint64_t n) {
    for (uint64_t i = 0; i < n; ++i) LSRT_TRY(feed(1, Session::Output::kLast));
    return Status();
  }

  const BenchOptions& options_;
  const Profiler* profiler_;
  Session& session_;
  BenchRandom random_;
  std::vector<float> logprobs_;
  std::vector<int32_t> tokens_;
};

}  // namespace

Status bench_text(Bench* bench) {
  const BenchOptions& options = bench->options;
  CausalOptions causal;
  causal.threads = choose_threads(*bench->model, options.engine.threads);
  causal.block = options.stream.block;
  causal.memory = options.stream.memory;
  LSRT_ASSIGN(std::unique_ptr<Session> session, Session::create(bench->backend, causal));
  bench->state_bytes = session->memory_use().state_bytes;
  TextBench text(*bench, session.get());
  LSRT_TRY(text.feed(1, Session::Output::kLast));
  bench->first_result_ms = bench->clock.ms();
  return text.run(&bench->rows);
}

}  // namespace lsrt::tool
