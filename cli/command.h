// The commands of the tool. Each file adds one to the parser and returns what to do when it was called.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "base/status.h"

namespace lsrt::tool {

struct Command {
  CLI::App* app;
  std::function<Status()> run;  // Error::kArgument: wrong usage, exit status 2; all other errors: 1
};

Command add_convert(CLI::App& tool);
Command add_inspect(CLI::App& tool);
Command add_generate(CLI::App& tool);
Command add_tokenize(CLI::App& tool);
Command add_score(CLI::App& tool);
Command add_classify(CLI::App& tool);
Command add_run(CLI::App& tool);
Command add_bench(CLI::App& tool);
Command add_verify(CLI::App& tool);

}  // namespace lsrt::tool
