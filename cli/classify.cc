// lsrt classify: what is in images or documents; with --eval, how often that is right.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "cli/classify_inputs.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"

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
  ClassifierHandle classifier;
  InputReader reader;
  std::vector<std::string> labels;
  std::vector<float> logits;
  double ms = 0;  // of all classified so far, without reading them
  size_t classified = 0;

  double ms_each() const { return classified ? ms / static_cast<double>(classified) : 0; }
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
  LSRT_ASSIGN(e->reader, InputReader::create(e->model.get(), options.tokens));
  lsrt_classifier_params params = lsrt_classifier_default_params();
  params.threads = options.engine.threads;
  lsrt_classifier* handle = nullptr;
  LSRT_TRY(from_api(lsrt_classifier_create(e->model.get(), &params, &handle)));
  e->classifier.reset(handle);
  e->logits.resize(lsrt_model_classes(e->model.get()));
  LSRT_ASSIGN(e->labels, read_labels(options, e->model.get()));
  return Status();
}

// Reads and classifies one input (of a model that compares pairs: two files); the result is in e->logits.
Status classify_one(const std::string* files, Engine* e) {
  LSRT_ASSIGN(const Input input, e->reader.read(files));
  Clock clock;
  LSRT_TRY(from_api(input.lengths.empty()
                        ? lsrt_classify_images(e->classifier.get(), input.pixels.data(), 1, e->logits.data())
                        : lsrt_classify_sequences(e->classifier.get(), input.tokens.data(),
                                                  input.lengths.data(), 1, e->logits.data())));
  e->ms += clock.ms();
  ++e->classified;
  return Status();
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

Json result_json(const std::string& name, const Engine& e, size_t top) {
  const std::vector<double> p = softmax(e.logits);
  Json best = Json::array();
  for (size_t c : ranking(e.logits)) {
    if (best.size() == top) break;
    best.push_back({{"class", c}, {"label", e.labels[c]}, {"probability", p[c]}, {"logit", e.logits[c]}});
  }
  return {{"input", name}, {"top", best}};
}

std::string result_text(const Json& result) {
  constexpr int kBar = 30;
  std::string text = result["input"].get<std::string>() + "\n";
  for (const Json& best : result["top"]) {
    const double p = best["probability"].get<double>();
    const std::string label = best["label"].get<std::string>();
    text += format("  %6.2f %% %-*s %s\n", p * 100, kBar,
                   std::string(static_cast<size_t>(p * kBar + 0.5), '#').c_str(),
                   label.empty() ? format("class %zu", best["class"].get<size_t>()).c_str() : label.c_str());
  }
  return text;
}

Status classify_inputs(const Options& options, Engine* e) {
  const size_t files = e->reader.files();
  if (options.inputs.size() % files != 0)
    return fail(Error::kArgument, "the model compares pairs: give two inputs each");
  Json results = Json::array();
  size_t failures = 0;
  for (size_t i = 0; i < options.inputs.size() && !interrupted(); i += files) {
    const Status status = classify_one(&options.inputs[i], e);
    if (!status.ok()) {
      report_failure(status);
      ++failures;
      continue;
    }
    std::string name = options.inputs[i];
    if (files == 2) name += " | " + options.inputs[i + 1];
    results.push_back(result_json(name, *e, options.top));
    if (!options.json) LSRT_TRY(print(result_text(results.back())));
  }
  if (options.json) {
    LSRT_TRY(print_json(Json{{"results", results},
                             {"images", e->classified},
                             {"failures", failures},
                             {"ms_per_image", e->ms_each()}}));
  }
  return failures ? fail(Error::kFile, "%zu of %zu inputs could not be classified", failures,
                         options.inputs.size() / files)
                  : Status();
}

Status print_eval(const Options& options, const Engine& e, size_t top1, size_t top5, size_t failures) {
  const double n = static_cast<double>(e.classified);
  const double percent1 = 100 * static_cast<double>(top1) / n, percent5 = 100 * static_cast<double>(top5) / n;
  if (options.json) {
    return print_json(Json{{"images", e.classified},
                           {"top1", percent1},
                           {"top5", percent5},
                           {"ms_per_image", e.ms_each()},
                           {"failures", failures},
                           {"peak_rss_bytes", peak_rss_bytes()}});
  }
  return print(format("%zu inputs: top-1 %.2f %%, top-5 %.2f %%, %.3f ms each%s\n", e.classified, percent1,
                      percent5, e.ms_each(),
                      failures ? format("; %zu could not be read", failures).c_str() : ""));
}

Status evaluate(const Options& options, Engine* e) {
  if (e->reader.files() == 2)
    return fail(Error::kArgument, "--eval: the model compares pairs, folders hold single inputs");
  LSRT_ASSIGN(const std::vector<LabelledFile> files,
              list_folders(options.eval, e->reader.endings(), e->logits.size()));
  Progress progress("classifying");
  size_t top1 = 0, top5 = 0, failures = 0;
  for (const LabelledFile& file : files) {
    if (interrupted()) return fail(Error::kCancelled, "interrupted");
    const Status status = classify_one(&file.path, e);
    if (!status.ok()) {
      progress.clear();
      report_failure(status);
      ++failures;
      continue;
    }
    const std::vector<size_t> order = ranking(e->logits);
    const auto rank = static_cast<size_t>(std::find(order.begin(), order.end(), file.label) - order.begin());
    top1 += rank < 1;
    top5 += rank < 5;
    progress.update(
        e->classified + failures, files.size(),
        format("top-1 %.2f %%", 100.0 * static_cast<double>(top1) / static_cast<double>(e->classified)));
  }
  progress.clear();
  if (e->classified == 0)
    return fail(Error::kFile, "%s: none of its %zu files could be read", options.eval.c_str(), files.size());
  return print_eval(options, *e, top1, top5, failures);
}

Status classify(const Options& options) {
  if (options.inputs.empty() == options.eval.empty())
    return fail(Error::kArgument, "give either inputs or --eval DIR");
  Engine engine;
  LSRT_TRY(open_engine(options, &engine));
  catch_interrupts();
  return options.eval.empty() ? classify_inputs(options, &engine) : evaluate(options, &engine);
}

}  // namespace

Command add_classify(CLI::App& tool) {
  auto options = std::make_shared<Options>();
  CLI::App* app = tool.add_subcommand("classify", "Classify images (vil) or documents (encoder)");
  app->footer(
      "Images: JPEG or PNG. Documents: text files, their bytes are the tokens; or with --tokens files of "
      "numbers. Longer\n"
      "documents are cut to the model's length. A model that compares pairs takes two inputs for each "
      "result.\n"
      "--eval: DIR/CLASS/*.jpg, *.jpeg, *.png or *.txt; class numbers follow the sorted names of the "
      "folders. top1 and top5\n"
      "are percentages; times are those of the network, without reading files. Files that cannot be read are "
      "named and\n"
      "counted; the exit status is then 1 with inputs, and with --eval only if none could be read.");
  options->engine.add_model(app);
  app->add_option("INPUT", options->inputs, "Images or documents");
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
