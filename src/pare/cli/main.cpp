// pare COMMAND ...: parses the command line, runs the command, turns errors into messages and exit codes.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/base/log.h"
#include "pare/base/version.h"
#include "pare/cli/commands.h"
#include "pare/cli/failure.h"
#include "pare/cli/usage_hint.h"

namespace {

std::string version_text() {
  return "pare " + pare::version() + " (" + pare::git_commit() + ", " + pare::compiler() + ")";
}

}  // namespace

int main(int argc, char** argv) {
  using namespace pare;
  CLI::App app{"Pare makes neural networks small, and says what it cost.", "pare"};
  app.require_subcommand(1);
  app.set_version_flag("--version", version_text());
  Console console;
  console.argv = argv;
  add_inspect(app, console);
  add_calibrate(app, console);
  add_compress(app, console);
  add_eval(app, console);
  add_convert(app, console);
  add_pull(app, console);
  add_report(app, console);
  add_tokenize(app, console);
  add_run(app, console);
  add_bench(app, console);
  add_serve(app, console);
  add_tune(app, console);
  try {
    watch_for_interrupts();
    app.parse(argc, argv);
    return console.exit_code;
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    if (code == 0) return 0;  // --help and --version
    if (const std::string word = did_you_mean(app); !word.empty()) {
      std::fprintf(stderr, "did you mean %s?\n", word.c_str());
    }
    return static_cast<int>(Exit::usage);
  } catch (const std::exception& error) {
    set_status_line("");
    const auto commands = app.get_subcommands();
    const Failure failure = describe_failure(error, commands.empty() ? "" : commands.back()->get_name());
    std::fprintf(stderr, "pare: %s\n", failure.message.c_str());
    return static_cast<int>(failure.code);
  }
}
