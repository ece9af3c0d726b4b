// lsrt convert: a checkpoint to a model file.
#include "converter/convert.h"

#include <filesystem>
#include <map>
#include <memory>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"

namespace lsrt::tool {
namespace {

struct Options {
  std::string checkpoint, output, report;
  ConvertOptions convert;
};

Status run(Options options) {
  const ConvertOptions& read = options.convert;
  const std::string beside = std::filesystem::path(options.checkpoint).parent_path() / "dict.txt";
  const std::string& dict = read.dict_path.empty() ? beside : read.dict_path;
  for (const std::string& output : {options.output, options.report}) {
    for (const std::string& input :
         {options.checkpoint, read.config_path, dict, read.tokenizer_path, read.labels_path}) {
      LSRT_TRY(keep(input, output));
    }
  }
  catch_interrupts();
  Clock clock;
  Progress progress("converting");
  options.convert.progress = [&](size_t done, size_t total, const std::string& what) {
    progress.update(done, total, what);
    return !interrupted();
  };
  LSRT_ASSIGN(const ConvertReport report, convert(options.checkpoint, options.output, options.convert));
  progress.clear();
  if (!options.report.empty()) LSRT_TRY(write_report(report, options.report));
  const bool int8 = report.precision == Precision::kInt8;
  std::string text =
      format("%s: %s\n%llu parameters; %s -> %s %s in %.1f s\n", options.output.c_str(),
             one_line(report.architecture).c_str(), static_cast<unsigned long long>(report.parameters),
             bytes_text(report.source_bytes).c_str(), int8 ? "int8" : "float32",
             bytes_text(report.output_bytes).c_str(), clock.seconds());
  if (options.convert.golden) {
    text += "from the float model: " + distance_text(report.family, report.golden) + "\n";
  }
  for (const std::string& remark : report.remarks) text += "remark: " + one_line(remark) + "\n";
  return print(text);
}

}  // namespace

Command add_convert(CLI::App& tool) {
  auto options = std::make_shared<Options>();
  ConvertOptions& convert = options->convert;
  CLI::App* app = tool.add_subcommand("convert", "Make a model file from a checkpoint");
  app->footer(
      "CHECKPOINT: fairseq .pt, PyTorch .pth or .model (zip and legacy), .safetensors, or a folder with\n"
      "config.json and model.safetensors, its shards or pytorch_model.bin. Nothing in it is executed.\n"
      "--config takes the hyper-parameters that the checkpoint lacks, as JSON.");
  app->add_option("CHECKPOINT", options->checkpoint, "Trained weights, a file or a folder")->required();
  app->add_option("-o,--output", options->output, "Model file to write")->required();
  app->add_option("--family", convert.family, "Default: recognised by the names of the tensors")
      ->check(CLI::IsMember({"lm", "encoder", "vil", "slide"}));
  app->add_option("--dict", convert.dict_path, "lm: dictionary; default: dict.txt beside the checkpoint");
  app->add_option("--tokenizer", convert.tokenizer_path,
                  "Mamba: tokenizer; default: tokenizer.json beside the checkpoint");
  app->add_option("--config", convert.config_path, "JSON file with hyper-parameters");
  app->add_option("--labels", convert.labels_path, "Names of the classes, one a line");
  const std::map<std::string, Precision> precisions{{"int8", Precision::kInt8},
                                                    {"float32", Precision::kFloat32}};
  app->add_option("--precision", convert.precision, "int8 or float32; default int8")
      ->transform(CLI::CheckedTransformer(precisions).description(""));
  app->add_option("--block", convert.block, "lm: tokens of a block; default 256");
  app->add_option("--memory", convert.memory, "lm: tokens of memory; default: the checkpoint's");
  app->add_option("--threads", convert.threads,
                  "Threads of rounding and of the check at the end; 0: as many as pay")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app->add_flag("!--no-golden", convert.golden, "Leave out the stored check that lsrt verify replays");
  app->add_option("--report", options->report, "Write tensors, sizes and errors of rounding as JSON");
  return {app, [options] { return run(*options); }};
}

}  // namespace lsrt::tool
