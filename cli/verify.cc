// lsrt verify: does the model compute here what it computed where it was converted?
#include "runtime/api/verify.h"

#include <algorithm>
#include <memory>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"
#include "kernels/dispatch.h"

namespace lsrt::tool {
namespace {

struct Options {
  EngineOptions engine;
  bool json = false;
};

Json facts(const std::string& isa, uint32_t threads, const GoldenCheck& check, const Status& status) {
  return {{"isa", isa},
          {"threads", threads},
          {"ok", status.ok()},
          {"digest", format("%016llx", static_cast<unsigned long long>(check.digest))},
          {"rows", check.rows},
          {"mean_kl_nats", check.mean_kl},
          {"relative_difference", check.relative_difference},
          {"same_top", check.same_top},
          {"max_difference", check.max_difference}};
}

Status verify(const Options& options) {
  LSRT_ASSIGN(std::shared_ptr<const Model> model,
              Model::load(options.engine.model, options.engine.placement()));
  const bool has_digest = model->is_int8() && model->golden.digest != 0;
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  Json results = Json::array();
  std::string table =
      format("%s: %s\n", options.engine.model.c_str(), model->provenance.architecture.c_str());
  size_t tested = 0;
  Status first_wrong;
  for (size_t i = 0; i < count; ++i) {
    if (!options.engine.isa.empty() && options.engine.isa != sets[i]->isa) continue;
    BackendOptions device;
    device.name = options.engine.backend;
    device.isa = sets[i]->isa;
    LSRT_ASSIGN(std::shared_ptr<Backend> backend, Backend::create(device, model));
    for (const uint32_t threads : {1u, std::max(options.engine.threads, 2u)}) {
      ArrayOptions run;
      run.threads = threads;
      LSRT_ASSIGN(const GoldenCheck check, check_golden(backend, run));
      const Status status = agrees(*model, check);
      if (!status.ok() && first_wrong.ok()) {
        first_wrong = fail(Error::kModel, "%s: %s, %u threads: %s", options.engine.model.c_str(),
                           sets[i]->isa, threads, status.message().c_str());
      }
      if (tested == 0) {
        table += (model->is_int8() ? "from the float model: " : "from the stored outputs: ") +
                 distance_text(model->family, check) + "\n";
      }
      ++tested;
      results.push_back(facts(sets[i]->isa, threads, check, status));
      table += format("%-12s %u thread%s  %016llx  %s\n", sets[i]->isa, threads, threads == 1 ? " " : "s",
                      static_cast<unsigned long long>(check.digest), status.ok() ? "ok" : "MISMATCH");
    }
  }
  if (tested == 0) {
    return fail(Error::kArgument, "--isa %s: this machine has %s", options.engine.isa.c_str(),
                available_kernel_names());
  }
  if (has_digest) {
    table +=
        format("%-23s %016llx\n", "at conversion", static_cast<unsigned long long>(model->golden.digest));
  } else if (model->is_int8()) {
    table += "the model stores no digest of its outputs (made by an older version): compared by difference\n";
  }
  if (options.json) {
    LSRT_TRY(print_json(Json{{"model", options.engine.model},
                             {"ok", first_wrong.ok()},
                             {"has_digest", has_digest},
                             {"results", results}}));
  } else {
    LSRT_TRY(print(table));
  }
  return first_wrong;
}

}  // namespace

Command add_verify(CLI::App& tool) {
  auto options = std::make_shared<Options>();
  CLI::App* app =
      tool.add_subcommand("verify",
                          "Recompute the outputs that conversion stored in the model, on every kernel set "
                          "of this machine");
  app->footer(
      "int8 models must give the very bits that conversion stored, with 1 and 2 (or --threads) threads;\n"
      "float32 models outputs within 2e-4 of the stored ones; else exit status 1. The distance from the\n"
      "float model is what int8 costs: the mean KL divergence of the next token's distribution (a text model), or the\n"
      "largest difference of an output relative to the largest one (a classifier, an encoder of slides).");
  options->engine.add_model(app);
  options->engine.add(app);
  app->add_flag("--json", options->json, "Print JSON");
  return {app, [options] { return verify(*options); }};
}

}  // namespace lsrt::tool
