// pare bench: how fast things run here.

#include <CLI/CLI.hpp>

#include "pare/cli/commands.h"

namespace pare {

void add_bench(CLI::App& app, Console& console) {
  auto* command = app.add_subcommand("bench", "Measure how fast this machine multiplies with compressed weights");
  command->require_subcommand(1);
  add_bench_kernels(*command, console);
}

}  // namespace pare
