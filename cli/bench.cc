// lsrt bench: speed and memory on this machine.
#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"
#include "runtime/backend.h"
#include "runtime/model.h"
#include "runtime/session.h"

namespace lsrt::tool {
namespace {

constexpr size_t kFillPiece = 4096;  // tokens fed at a time on the way to a depth

struct Options {
  EngineOptions engine;
  StreamOptions stream;
  std::vector<uint64_t> depths{0};
  uint64_t prompt = 512, generate = 32;
  uint32_t repetitions = 3;
  bool json = false;
};

struct Row {
  std::string test;
  uint64_t depth, n;
  std::vector<double> ms;  // of each repetition

  double min_ms() const { return *std::min_element(ms.begin(), ms.end()); }
  double median_ms() const {
    std::vector<double> sorted = ms;
    std::sort(sorted.begin(), sorted.end());
    const size_t half = sorted.size() / 2;
    return sorted.size() % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }
  double per_second() const { return static_cast<double>(n) / median_ms() * 1e3; }
};

struct Bench {
  std::string isa;
  std::vector<Row> rows;
  size_t model_bytes = 0, state_bytes = 0;
  double load_ms = 0, first_result_ms = 0;
};

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    for (const char* key : {"model name", "Model", "CPU part"}) {
      const size_t colon = line.find(": ");
      if (line.rfind(key, 0) == 0 && colon != std::string::npos) return line.substr(colon + 2);
    }
  }
  return "unknown";
}

// Feeds tokens of its own making. Which ones does not matter for speed, but they are the same in every run.
class TextBench {
 public:
  TextBench(const Options& options, Session* session)
      : options_(options), session_(*session), logprobs_(session->vocabulary()), tokens_(kFillPiece) {}

  Status first_token() { return feed(1, Session::Output::kLast); }

  Status run(std::vector<Row>* rows) {
    std::vector<uint64_t> depths = options_.depths;
    std::sort(depths.begin(), depths.end());
    for (uint64_t depth : depths) {
      Row prompt{"prompt", depth, options_.prompt, {}}, decode{"decode", depth, options_.generate, {}};
      LSRT_TRY(go_to(depth));
      for (uint32_t i = 0; i < options_.repetitions; ++i) {
        if (prompt.n) LSRT_TRY(timed(&prompt, [&] { return feed(prompt.n, Session::Output::kLast); }));
        if (decode.n) LSRT_TRY(timed(&decode, [&] { return one_by_one(decode.n); }));
      }
      for (Row* row : {&prompt, &decode}) {
        if (row->n) rows->push_back(std::move(*row));
      }
    }
    return Status();
  }

 private:
  // To `depth` tokens fed. The tests before it may have gone further; then from the start.
  Status go_to(uint64_t depth) {
    if (session_.position() > depth || depth == 0) session_.reset();
    const uint64_t start = session_.position();
    Progress progress(format("feeding %llu tokens", static_cast<unsigned long long>(depth - start)));
    while (session_.position() < depth) {
      LSRT_TRY(feed(std::min<uint64_t>(kFillPiece, depth - session_.position()), Session::Output::kNone));
      progress.update(session_.position() - start, depth - start);
    }
    return Status();
  }

  template <typename F>
  static Status timed(Row* row, const F& work) {
    Clock clock;
    LSRT_TRY(work());
    row->ms.push_back(clock.ms());
    return Status();
  }

  Status feed(size_t n, Session::Output output) {
    if (tokens_.size() < n) tokens_.resize(n);
    for (size_t i = 0; i < n; ++i) {
      random_ = random_ * 6364136223846793005 + 1442695040888963407;
      tokens_[i] = static_cast<int32_t>((random_ >> 33) % session_.vocabulary());
    }
    return session_.feed(tokens_.data(), n, output, logprobs_.data());
  }

  Status one_by_one(uint64_t n) {
    for (uint64_t i = 0; i < n; ++i) LSRT_TRY(feed(1, Session::Output::kLast));
    return Status();
  }

  const Options& options_;
  Session& session_;
  uint64_t random_ = 1;
  std::vector<float> logprobs_;
  std::vector<int32_t> tokens_;
};

Status bench_text(const Options& options, const std::shared_ptr<const Model>& model,
                  const std::shared_ptr<Backend>& backend, const Clock& clock, Bench* bench) {
  CausalOptions causal;
  causal.threads = options.engine.threads;
  causal.block = options.stream.block, causal.memory = options.stream.memory;
  LSRT_ASSIGN(std::unique_ptr<Session> session, Session::create(model, backend, causal));
  bench->state_bytes = session->memory_use().state_bytes;
  TextBench text(options, session.get());
  LSRT_TRY(text.first_token());
  bench->first_result_ms = clock.ms();
  return text.run(&bench->rows);
}

Status report(const Options& options, const Bench& bench) {
  if (options.json) {
    Json results = Json::array();
    for (const Row& row : bench.rows) {
      results.push_back({{"test", row.test},
                         {"depth", row.depth},
                         {"n", row.n},
                         {"min_ms", row.min_ms()},
                         {"median_ms", row.median_ms()},
                         {"per_second", row.per_second()}});
    }
    return print_json(Json{{"cpu", cpu_name()},
                           {"isa", bench.isa},
                           {"threads", options.engine.threads},
                           {"results", results},
                           {"peak_rss_bytes", peak_rss_bytes()},
                           {"model_bytes", bench.model_bytes},
                           {"state_bytes", bench.state_bytes},
                           {"load_ms", bench.load_ms},
                           {"first_result_ms", bench.first_result_ms}});
  }
  std::string text =
      format("%s, %s, %u threads\n%-8s %10s %8s %12s %12s %12s\n", cpu_name().c_str(), bench.isa.c_str(),
             options.engine.threads, "test", "depth", "n", "min ms", "median ms", "per second");
  for (const Row& row : bench.rows) {
    text += format("%-8s %10llu %8llu %12.3f %12.3f %12.1f\n", row.test.c_str(),
                   static_cast<unsigned long long>(row.depth), static_cast<unsigned long long>(row.n),
                   row.min_ms(), row.median_ms(), row.per_second());
  }
  text += format("model %s, state %s, peak memory %s; loaded in %.1f ms, first result after %.1f ms\n",
                 bytes_text(bench.model_bytes).c_str(), bytes_text(bench.state_bytes).c_str(),
                 bytes_text(peak_rss_bytes()).c_str(), bench.load_ms, bench.first_result_ms);
  return print(text);
}

Status run(const Options& options) {
  Clock clock;
  Bench bench;
  LSRT_ASSIGN(std::shared_ptr<const Model> model, Model::load(options.engine.model));
  LSRT_ASSIGN(std::unique_ptr<Backend> created, Backend::create(options.engine.backend, options.engine.isa));
  const std::shared_ptr<Backend> backend = std::move(created);
  bench.load_ms = clock.ms();
  bench.isa = backend->isa();
  bench.model_bytes = model->file_bytes();
  LSRT_TRY(bench_text(options, model, backend, clock, &bench));
  return report(options, bench);
}

}  // namespace

Command add_bench(CLI::App& tool) {
  auto options = std::make_shared<Options>();
  CLI::App* app = tool.add_subcommand("bench", "Measure speed and memory on this machine");
  app->footer(
      "Text: at each depth (tokens fed before) the time of a prompt and of tokens fed one by one. "
      "Repetitions go on from\n"
      "there, so that the last one is deeper by (R - 1) x (prompt + generate) tokens.");
  options->engine.add_model(app);
  app->add_option("--depth", options->depths, "Tokens of context before each test, e.g. 0,8192,65536")
      ->delimiter(',')
      ->capture_default_str();
  app->add_option("--prompt", options->prompt, "Tokens of the prompt test; 0: none")->capture_default_str();
  app->add_option("--generate", options->generate, "Tokens of the decode test; 0: none")
      ->capture_default_str();
  app->add_option("--repetitions", options->repetitions, "Times each test is run")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  options->stream.add(app);
  options->engine.add(app);
  app->add_flag("--json", options->json, "Print JSON");
  return {app, [options] { return run(*options); }};
}

}  // namespace lsrt::tool
