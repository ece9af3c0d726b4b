// lsrt bench: speed and memory on this machine.
#include "cli/bench.h"

#include <algorithm>
#include <fstream>

#include "base/atomic_file.h"
#include "cli/command.h"
#include "converter/random_model.h"
#include "runtime/device/threads.h"

namespace lsrt::tool {
namespace {

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

std::string profile_line(const LaunchTotal& launch, double row_ms) {
  const double ms = launch.total_us / 1e3;
  std::string line = format("  %-26s %6zu launches %10.3f ms %5.1f %%", launch.name.c_str(), launch.count, ms,
                            100 * ms / row_ms);
  if (launch.multiply_adds > 0) line += format(" %7.1f G multiply-adds/s", launch.multiply_adds / ms / 1e6);
  return line + "\n";
}

Status write_trace(const Profiler& profiler, const std::string& path) {
  const std::string trace = profiler.chrome_trace();
  LSRT_ASSIGN(AtomicFile file, AtomicFile::open(path));
  LSRT_TRY(file.write(trace.data(), trace.size()));
  return file.commit();
}

Status report(const Bench& bench) {
  const std::string cpu = cpu_name();
  const uint32_t threads = choose_threads(*bench.model, bench.options.engine.threads);
  if (bench.options.json) {
    Json results = Json::array();
    for (const BenchRow& row : bench.rows) {
      results.push_back({{"test", row.test},
                         {"depth", row.depth},
                         {"n", row.n},
                         {"min_ms", row.min_ms()},
                         {"median_ms", row.median_ms()},
                         {"per_second", row.per_second()}});
      for (const LaunchTotal& launch : row.profile) {
        results.back()["profile"].push_back({{"launch", launch.name},
                                             {"count", launch.count},
                                             {"ms", launch.total_us / 1e3},
                                             {"multiply_adds", launch.multiply_adds}});
      }
    }
    return print_json(Json{{"cpu", cpu},
                           {"isa", bench.backend->info().isa},
                           {"threads", threads},
                           {"results", results},
                           {"peak_rss_bytes", peak_rss_bytes()},
                           {"model_bytes", bench.model->file_bytes()},
                           {"state_bytes", bench.state_bytes},
                           {"load_ms", bench.load_ms},
                           {"first_result_ms", bench.first_result_ms}});
  }
  std::string text =
      format("%s, %s, %u threads\n%-8s %10s %8s %12s %12s %12s\n", cpu.c_str(), bench.backend->info().isa,
             threads, "test", "depth", "n", "min ms", "median ms", "per second");
  for (const BenchRow& row : bench.rows) {
    text += format("%-8s %10llu %8llu %12.3f %12.3f %12.1f\n", row.test.c_str(),
                   static_cast<unsigned long long>(row.depth), static_cast<unsigned long long>(row.n),
                   row.min_ms(), row.median_ms(), row.per_second());
    for (const LaunchTotal& launch : row.profile) text += profile_line(launch, row.ms.back());
  }
  text += format("model %s, state %s, peak memory %s; loaded in %.1f ms, first result after %.1f ms\n",
                 bytes_text(bench.model->file_bytes()).c_str(), bytes_text(bench.state_bytes).c_str(),
                 bytes_text(peak_rss_bytes()).c_str(), bench.load_ms, bench.first_result_ms);
  return print(text);
}

Status load(Bench* bench) {
  const BenchOptions& options = bench->options;
  if (options.arch.empty()) {
    LSRT_ASSIGN(bench->model, Model::load(options.engine.model, options.engine.placement()));
  } else {
    LSRT_ASSIGN(ModelBytes bytes, random_model(options.arch, {}));
    bench->clock = Clock();  // making it is no part of loading it
    LSRT_ASSIGN(bench->model, Model::load_bytes(std::move(bytes), options.arch));
  }
  LSRT_ASSIGN(bench->backend, Backend::create({options.engine.backend, options.engine.isa}, bench->model));
  if (options.profile || !options.trace.empty()) {
    bench->profiler = std::make_unique<Profiler>();
    bench->backend->observe(bench->profiler.get());
  }
  bench->load_ms = bench->clock.ms();
  return Status();
}

Status run(const BenchOptions& options) {
  if (options.arch.empty() == options.engine.model.empty()) {
    return fail(Error::kArgument, "give either a model file or --arch NAME");
  }
  catch_interrupts();
  Bench bench(options);
  LSRT_TRY(load(&bench));
  LSRT_TRY(bench.model->family == Family::kLm ? bench_text(&bench) : bench_classifier(&bench));
  if (!options.trace.empty()) LSRT_TRY(write_trace(*bench.profiler, options.trace));
  return report(bench);
}

}  // namespace

double BenchRow::min_ms() const { return *std::min_element(ms.begin(), ms.end()); }

double BenchRow::median_ms() const {
  std::vector<double> sorted = ms;
  std::sort(sorted.begin(), sorted.end());
  const size_t half = sorted.size() / 2;
  return sorted.size() % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

Command add_bench(CLI::App& tool) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* app = tool.add_subcommand("bench", "Measure speed and memory on this machine");
  app->footer(
      "Text: at each depth (tokens fed before) the time of a prompt and of tokens fed one by one.\n"
      "Repetitions start from an empty stream at depth 0; elsewhere they go on, the last one deeper by\n"
      "(R - 1) x (prompt + generate) tokens.\n"
      "Images, documents and slides (of --prompt tiles): one at a time, after a first one that is not\n"
      "counted.\n"
      "--arch: published shape with random weights, made in memory: enwik8-base, enwik8-large,\n"
      "vil-ls-medium-224, vil-ls-base-224, vil-ls-medium-384, longformer-small-224, longformer-medium-224,\n"
      "gfnet-ti, -xs, -s, -b, -h-ti, -h-s, -h-b, gigapath-slide, lra, mamba-130m, -370m, -790m, -1.4b, -2.8b,\n"
      "mamba2-130m, -370m, -780m, -1.3b, -2.7b.");
  app->add_option("MODEL", options->engine.model, "Model file made by lsrt convert");
  app->add_option("--arch", options->arch, "Instead of a model file: a published shape");
  app->add_option("--depth", options->depths, "Tokens of context before each test, e.g. 0,8192,65536")
      ->delimiter(',')
      ->check(whole_number())
      ->allow_extra_args(false)
      ->default_str("0");
  app->add_option("--prompt", options->prompt, "Tokens of the prompt test; 0: none")
      ->check(whole_number())
      ->capture_default_str();
  app->add_option("--generate", options->generate, "Tokens of the decode test; 0: none")
      ->check(whole_number())
      ->capture_default_str();
  app->add_option("--repetitions", options->repetitions, "Times each test is run")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  options->stream.add(app);
  options->engine.add(app);
  app->add_flag("--profile", options->profile,
                "Also the time of each kind of launch, in the last repetition");
  app->add_option("--trace", options->trace, "Write every launch to a file for chrome://tracing or Perfetto");
  app->add_flag("--json", options->json, "Print JSON");
  return {app, [options] { return run(*options); }};
}

}  // namespace lsrt::tool
