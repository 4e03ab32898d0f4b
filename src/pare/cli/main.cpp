// pare COMMAND ...: parses the command line, runs the command, turns errors into messages and exit codes.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/base/log.h"
#include "pare/base/version.h"
#include "pare/cli/commands.h"

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
  add_compress(app, console);
  add_eval(app, console);
  add_convert(app, console);
  add_report(app, console);
  add_tokenize(app, console);
  try {
    watch_for_interrupts();
    app.parse(argc, argv);
    return console.exit_code;
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : static_cast<int>(Exit::usage);
  } catch (const Error& error) {
    set_status_line("");
    std::fprintf(stderr, "pare: %s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "pare: out of memory\n");
    return static_cast<int>(Exit::resources);
  } catch (const std::exception& error) {
    set_status_line("");
    std::fprintf(stderr, "pare: %s\n", error.what());
    return static_cast<int>(Exit::failed);
  }
}
