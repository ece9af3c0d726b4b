// lsrt classify: what is in images or documents; with --eval, how often that is right.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "cli/classifier_crew.h"
#include "cli/classify_inputs.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"
#include "runtime/device/threads.h"

namespace lsrt::tool {
namespace {

struct Options {
  EngineOptions engine;
  std::vector<std::string> inputs;
  std::string eval, labels;
  size_t top = 5;
  bool tokens = false, json = false;
};

struct Engine {
  ModelHandle model;
  InputReader reader;
  std::vector<std::string> labels;
};

// What became of the inputs so far.
struct Tally {
  size_t classified = 0, failures = 0;

  double ms_each(const ClassifierCrew& crew) const {
    return classified ? crew.network_ms() / static_cast<double>(classified) : 0;
  }
  double per_second(const ClassifierCrew& crew) const {
    return crew.seconds() > 0 ? static_cast<double>(classified) / crew.seconds() : 0;
  }
};

Result<std::vector<std::string>> read_labels(const Options& options, const lsrt_model* model) {
  std::vector<std::string> labels(lsrt_model_classes(model));
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = lsrt_model_label(model, i);
  if (options.labels.empty()) return labels;
  std::ifstream file(options.labels);
  size_t n = 0;
  for (std::string line; std::getline(file, line); ++n) {
    if (n < labels.size()) labels[n] = line;
  }
  if (n == labels.size()) return labels;
  return fail(Error::kFile, "%s: has %zu lines, the model %zu classes", options.labels.c_str(), n,
              labels.size());
}

Status open_engine(const Options& options, Engine* e) {
  LSRT_ASSIGN(e->model, options.engine.load());
  if (!lsrt_model_classes(e->model.get())) {
    return fail(Error::kArgument, "%s: is of family '%s', which classifies nothing",
                options.engine.model.c_str(), lsrt_model_family(e->model.get()));
  }
  LSRT_ASSIGN(e->reader, InputReader::create(e->model.get(), options.tokens));
  LSRT_ASSIGN(e->labels, read_labels(options, e->model.get()));
  return Status();
}

// Side by side even a small model keeps all cores busy.
Result<ClassifierCrew> make_crew(const Options& options, const Engine& e, size_t inputs) {
  const bool all_cores = options.engine.threads == 0 && inputs > 1;
  return ClassifierCrew::create(
      e.model.get(), all_cores ? usable_cores() : options.engine.threads_for(e.model.get()), inputs);
}

// Classes, best first; equal ones in their order.
std::vector<size_t> ranking(const std::vector<float>& logits) {
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  return order;
}

std::vector<double> softmax(const std::vector<float>& logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p(logits.size());
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += p[i] = std::exp(logits[i] - largest);
  for (double& x : p) x /= sum;
  return p;
}

// One bad file is reported, and the work goes on with the others.
void report_failure(const Status& status) {
  std::fprintf(stderr, "lsrt: error: %s\n", one_line(status.message()).c_str());
}

Json result_json(const std::string& name, const Engine& e, const std::vector<float>& logits, size_t top) {
  const std::vector<double> p = softmax(logits);
  Json best = Json::array();
  for (size_t c : ranking(logits)) {
    if (best.size() == top) break;
    best.push_back({{"class", c}, {"label", e.labels[c]}, {"probability", p[c]}, {"logit", logits[c]}});
  }
  return {{"input", name}, {"top", best}};
}

std::string result_text(const Json& result) {
  constexpr int kBar = 30;
  std::string text = one_line(result["input"].get<std::string>()) + "\n";
  for (const Json& best : result["top"]) {
    const double p = best["probability"].get<double>();
    const std::string label = one_line(best["label"].get<std::string>());
    text += format("  %6.2f %% %-*s %s\n", p * 100, kBar,
                   std::string(static_cast<size_t>(p * kBar + 0.5), '#').c_str(),
                   label.empty() ? format("class %zu", best["class"].get<size_t>()).c_str() : label.c_str());
  }
  return text;
}

Status classify_inputs(const Options& options, const Engine& e) {
  const size_t files = e.reader.files();
  LSRT_ASSIGN(const std::vector<std::string> inputs, expand_folders(options.inputs, e.reader.endings()));
  if (inputs.size() % files != 0)
    return fail(Error::kArgument, "the model compares pairs: give two inputs each");
  const size_t count = inputs.size() / files;
  LSRT_ASSIGN(ClassifierCrew crew, make_crew(options, e, count));
  Json results = Json::array();
  Tally tally;
  const auto read = [&](size_t i) { return e.reader.read(&inputs[i * files]); };
  const auto done = [&](size_t i, const Result<std::vector<float>>& logits) -> Status {
    if (!logits.ok()) {
      report_failure(logits.status());
      ++tally.failures;
      return Status();
    }
    ++tally.classified;
    std::string name = inputs[i * files];
    if (files == 2) name += " | " + inputs[i * files + 1];
    Json result = result_json(name, e, logits.value(), options.top);
    if (!options.json) return print(result_text(result));
    results.push_back(std::move(result));
    return Status();
  };
  LSRT_TRY(crew.run(count, read, done));
  if (options.json) {
    LSRT_TRY(print_json(Json{{"results", results},
                             {"images", tally.classified},
                             {"failures", tally.failures},
                             {"ms_per_image", tally.ms_each(crew)},
                             {"images_per_second", tally.per_second(crew)},
                             {"side_by_side", crew.size()}}));
  } else if (count > 1) {
    std::fprintf(stderr,
                 "lsrt: %zu inputs in %.2f s with reading: %.1f a second, %zu side by side of %.2f ms each\n",
                 tally.classified, crew.seconds(), tally.per_second(crew), crew.size(), tally.ms_each(crew));
  }
  return tally.failures
             ? fail(Error::kFile, "%zu of %zu inputs could not be classified", tally.failures, count)
             : Status();
}

Status print_eval(const Options& options, const ClassifierCrew& crew, const Tally& tally, size_t top1,
                  size_t top5) {
  const double n = static_cast<double>(tally.classified);
  const double percent1 = 100 * static_cast<double>(top1) / n, percent5 = 100 * static_cast<double>(top5) / n;
  if (options.json) {
    return print_json(Json{{"images", tally.classified},
                           {"top1", percent1},
                           {"top5", percent5},
                           {"ms_per_image", tally.ms_each(crew)},
                           {"images_per_second", tally.per_second(crew)},
                           {"side_by_side", crew.size()},
                           {"failures", tally.failures},
                           {"peak_rss_bytes", peak_rss_bytes()}});
  }
  return print(format(
      "%zu inputs: top-1 %.2f %%, top-5 %.2f %%; %.1f a second with reading, %zu side by side of %.3f ms "
      "each%s\n",
      tally.classified, percent1, percent5, tally.per_second(crew), crew.size(), tally.ms_each(crew),
      tally.failures ? format("; %zu could not be read", tally.failures).c_str() : ""));
}

Status evaluate(const Options& options, const Engine& e) {
  if (e.reader.files() == 2)
    return fail(Error::kArgument, "--eval: the model compares pairs, folders hold single inputs");
  LSRT_ASSIGN(const std::vector<LabelledFile> files,
              list_folders(options.eval, e.reader.endings(), e.labels.size()));
  LSRT_ASSIGN(ClassifierCrew crew, make_crew(options, e, files.size()));
  Progress progress("classifying");
  size_t top1 = 0, top5 = 0;
  Tally tally;
  const auto read = [&](size_t i) { return e.reader.read(&files[i].path); };
  const auto done = [&](size_t i, const Result<std::vector<float>>& logits) -> Status {
    if (!logits.ok()) {
      progress.clear();
      report_failure(logits.status());
      ++tally.failures;
      return Status();
    }
    ++tally.classified;
    const std::vector<size_t> order = ranking(logits.value());
    const auto rank =
        static_cast<size_t>(std::find(order.begin(), order.end(), files[i].label) - order.begin());
    top1 += rank < 1;
    top5 += rank < 5;
    progress.update(
        i + 1, files.size(),
        format("top-1 %.2f %%", 100.0 * static_cast<double>(top1) / static_cast<double>(tally.classified)));
    return Status();
  };
  LSRT_TRY(crew.run(files.size(), read, done));
  progress.clear();
  if (interrupted()) return fail(Error::kCancelled, "interrupted");
  if (tally.classified == 0)
    return fail(Error::kFile, "%s: none of its %zu files could be read", options.eval.c_str(), files.size());
  return print_eval(options, crew, tally, top1, top5);
}

Status classify(const Options& options) {
  if (options.inputs.empty() == options.eval.empty())
    return fail(Error::kArgument, "give either inputs or --eval DIR");
  Engine engine;
  LSRT_TRY(open_engine(options, &engine));
  catch_interrupts();
  return options.eval.empty() ? classify_inputs(options, engine) : evaluate(options, engine);
}

}  // namespace

Command add_classify(CLI::App& tool) {
  auto options = std::make_shared<Options>();
  CLI::App* app = tool.add_subcommand("classify", "Classify images (vil) or documents (encoder)");
  app->footer(
      "Images: JPEG or PNG. Documents: text files, their bytes are the tokens; or with --tokens files of\n"
      "numbers. Longer documents are cut to the model's length. A model that compares pairs takes two\n"
      "inputs for each result.\n"
      "--eval: DIR/CLASS/*.jpg, *.jpeg, *.png or *.txt; class numbers follow the sorted names of the\n"
      "folders. top1 and top5 are percentages; times are those of the network, without reading files, but\n"
      "inputs a second, which are read and classified side by side, one on each thread.\n"
      "Files that cannot be read are named and counted; the exit status is then 1 with inputs, and with\n"
      "--eval only if none could be read.");
  options->engine.add_model(app);
  app->add_option("INPUT", options->inputs, "Images or documents, or folders that hold them");
  app->add_option("--eval", options->eval,
                  "Folder of one folder per class: measure how often the model is right");
  app->add_option("--top", options->top, "How many classes are shown")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app->add_option("--labels", options->labels,
                  "Names of the classes, one a line; default: those in the model");
  app->add_flag("--tokens", options->tokens,
                "Documents are token numbers, separated by blanks, commas or line ends");
  options->engine.add(app);
  app->add_flag("--json", options->json, "Print JSON");
  return {app, [options] { return classify(*options); }};
}

}  // namespace lsrt::tool
