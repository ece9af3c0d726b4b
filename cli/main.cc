// lsrt: the command line tool. Exit status: 0 done, 1 the work failed, 2 wrong usage.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include "cli/command.h"
#include "cli/output.h"
#include "kernels/dispatch.h"
#include "runtime/version.h"

using namespace lsrt;
using namespace lsrt::tool;

namespace {

constexpr char kIntroduction[] =
    "lsrt runs Transformer-LS (Long-Short Transformer) and Mamba models in int8: it writes text in constant memory, and\n"
    "classifies images and long documents. Three commands to try:\n"
    "\n"
    "  lsrt bench --arch enwik8-base                               speed on this machine; needs no model\n"
    "  lsrt convert books-lm.pt --dict dict.txt -o books-lm.lsrt   a trained checkpoint to a model file\n"
    "  lsrt generate books-lm.lsrt --prompt \"It was a dark night\"  text as it is made\n"
    "\n"
    "lsrt --help lists all commands, lsrt COMMAND --help explains one.\n";

int failed(int exit_status, const std::string& message) {
  std::fprintf(stderr, "lsrt: error: %s\n", one_line(message).c_str());
  return exit_status;
}

int run_tool(int argc, char** argv) {
  CLI::App tool(
      "Transformer-LS (Long-Short Transformer) and Mamba models in int8: text of any length in constant memory, "
      "images, documents.",
      "lsrt");
  tool.set_version_flag("--version", LSRT_VERSION);
  tool.require_subcommand(1);
  tool.get_formatter()->column_width(26);
  tool.footer(
      "`lsrt COMMAND --help` explains a command. Exit status: 0 done, 1 the work failed, 2 wrong usage.\n"
      "The environment variable LSRT_ISA forces a kernel set; this machine can run: " +
      std::string(available_kernel_names()) + ".");
  const Command commands[] = {add_convert(tool),  add_inspect(tool), add_generate(tool),
                              add_tokenize(tool), add_score(tool),   add_classify(tool),
                              add_run(tool),      add_bench(tool),   add_verify(tool)};
  if (argc == 1) {
    std::fputs(kIntroduction, stdout);
    return failed(2, "no command was given (see lsrt --help)");
  }
  const std::string first = argv[1];
  const auto is_first = [&](const CLI::App* command) { return command->check_name(first); };
  if (first.rfind('-', 0) != 0 && tool.get_subcommands(is_first).empty())
    return failed(2, "there is no command '" + first + "' (see lsrt --help)");
  try {
    tool.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return tool.exit(help);
  } catch (const CLI::ParseError& e) {
    std::string asked = "lsrt ", unexpected;
    for (const CLI::App* command : tool.get_subcommands()) {
      asked += command->get_name() + " ";
      for (const std::string& argument : command->remaining()) unexpected += " " + argument;
    }
    // The parser's own list of them runs from the last to the first.
    const bool extras = e.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError) && !unexpected.empty();
    return failed(2, (extras ? "not expected:" + unexpected : e.what()) + " (see " + asked + "--help)");
  }
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    const Status status = command.run();
    if (status.code() == Error::kCancelled) return failed(1, "interrupted");
    if (!status.ok()) return failed(status.code() == Error::kArgument ? 2 : 1, status.message());
  }
  return 0;
}

// A mapped checkpoint or model lost pages that it had: somebody shortened the file. No code can go on from
// there. Outputs are whole or nameless until they are done, so nothing half written stays.
extern "C" void on_lost_pages(int) {
  constexpr char kMessage[] = "lsrt: error: a file was shortened while it was read\n";
  const ssize_t written = write(STDERR_FILENO, kMessage, sizeof kMessage - 1);
  (void)written;
  _exit(1);
}

// An allocation that fails where nothing may be thrown: the JSON trees of checkpoints allocate when they go.
[[noreturn]] void on_terminate() {
  constexpr char kMessage[] = "lsrt: error: out of memory\n";
  const ssize_t written = write(STDERR_FILENO, kMessage, sizeof kMessage - 1);
  (void)written;
  _exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe ends the output, not the work
  std::signal(SIGBUS, on_lost_pages);
  std::set_terminate(on_terminate);
  try {
    return run_tool(argc, argv);
  } catch (const std::bad_alloc&) {
    return failed(1, "out of memory");
  } catch (const std::exception& e) {
    return failed(1, e.what());
  }
}
