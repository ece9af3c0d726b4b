// lsrt verify: does the model compute here what it computed where it was converted?
#include <cmath>
#include <memory>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"
#include "kernels/dispatch.h"
#include "runtime/model.h"

namespace lsrt::tool {
namespace {

constexpr float kInt8Tolerance =
    1e-6f;  // of the difference found at conversion: all kernel sets give the same bits
constexpr float kFloatTolerance = 2e-4f;  // of the outputs: sums in another order

struct Options {
  EngineOptions engine;
  bool json = false;
};

Status verify(const Options& options) {
  LSRT_ASSIGN(std::shared_ptr<const Model> model,
              Model::load(options.engine.model, options.engine.placement()));
  const bool int8 = model->is_int8();
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  Json results = Json::array();
  std::string table = format("%s: %s\n%-12s %12s %12s\n", options.engine.model.c_str(),
                             model->provenance.architecture.c_str(), "kernel set", "difference", "expected");
  size_t tested = 0, wrong = 0;
  for (size_t i = 0; i < count; ++i) {
    EngineOptions engine = options.engine;
    if (!engine.isa.empty() && engine.isa != sets[i]->isa) continue;
    engine.isa = sets[i]->isa;
    LSRT_ASSIGN(ModelHandle handle, engine.load());
    float difference = 0, expected = 0;
    LSRT_TRY(from_api(lsrt_model_verify(handle.get(), engine.threads, &difference, &expected)));
    const bool same =
        int8 ? std::fabs(difference - expected) <= kInt8Tolerance : difference <= kFloatTolerance;
    ++tested;
    if (!same) ++wrong;
    results.push_back(
        {{"isa", engine.isa}, {"difference", difference}, {"expected", expected}, {"ok", same}});
    table += format("%-12s %12.6g %12.6g  %s\n", engine.isa.c_str(), difference, expected,
                    same ? "ok" : "MISMATCH");
  }
  if (tested == 0) {
    return fail(Error::kArgument, "--isa %s: this machine has %s", options.engine.isa.c_str(),
                available_kernel_names());
  }
  if (options.json) {
    LSRT_TRY(print_json(Json{{"model", options.engine.model}, {"ok", wrong == 0}, {"results", results}}));
  } else {
    LSRT_TRY(print(table));
  }
  if (wrong == 0) return Status();
  return fail(Error::kModel, "%s: %zu of %zu kernel sets do not compute what was computed at conversion",
              options.engine.model.c_str(), wrong, tested);
}

}  // namespace

Command add_verify(CLI::App& tool) {
  auto options = std::make_shared<Options>();
  CLI::App* app =
      tool.add_subcommand("verify",
                          "Recompute the outputs that conversion stored in the model, on every kernel "
                          "set of this machine");
  app->footer(
      "difference: largest absolute difference of any output from the float model's; expected: the same as "
      "found "
      "at conversion. They must agree to 1e-6 (float32 models: difference at most 2e-4), else exit status "
      "1.");
  options->engine.add_model(app);
  options->engine.add(app);
  app->add_flag("--json", options->json, "Print JSON");
  return {app, [options] { return verify(*options); }};
}

}  // namespace lsrt::tool
