// lsrt: the command line tool. Exit status: 0 done, 1 the work failed, 2 wrong usage.
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include "cli/command.h"
#include "cli/output.h"
#include "runtime/version.h"

using namespace lsrt;
using namespace lsrt::tool;

namespace {

int failed(int exit_status, const std::string& message) {
  std::fprintf(stderr, "lsrt: error: %s\n", one_line(message).c_str());
  return exit_status;
}

int run_tool(int argc, char** argv) {
  CLI::App tool(
      "Transformer-LS (Long-Short Transformer) models in int8: text of any length in constant memory, "
      "images, "
      "documents.",
      "lsrt");
  tool.set_version_flag("--version", LSRT_VERSION);
  tool.require_subcommand(1);
  tool.get_formatter()->column_width(26);
  tool.footer(
      "`lsrt COMMAND --help` explains a command. Exit status: 0 done, 1 the work failed, 2 wrong usage.\n"
      "The environment variable LSRT_ISA (scalar, avx2, avx512vnni, neondot, neoni8mm) forces a kernel set.");
  const Command commands[] = {add_convert(tool),  add_inspect(tool), add_generate(tool), add_score(tool),
                              add_classify(tool), add_run(tool),     add_bench(tool),    add_verify(tool)};
  try {
    tool.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return tool.exit(help);
  } catch (const CLI::ParseError& e) {
    return failed(2, std::string(e.what()) + " (see lsrt --help)");
  }
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    const Status status = command.run();
    if (!status.ok()) return failed(status.code() == Error::kArgument ? 2 : 1, status.message());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe ends the output, not the work
  try {
    return run_tool(argc, argv);
  } catch (const std::bad_alloc&) {
    return failed(1, "out of memory");
  } catch (const std::exception& e) {
    return failed(1, e.what());
  }
}
