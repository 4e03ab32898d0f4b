// The command line: one file a command. Each adds its options and says what to run.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace pare {

// What every command shares.
struct Console {
  bool json = false;      // one object on stdout
  int exit_code = 0;      // set by the command that ran
  char** argv = nullptr;  // as main got it, for the program that takes over (hand_over.h)
};

// parent.add_subcommand, compiled once: CLI11 puts all of its App into every file that makes one.
CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& description);

// Each registers its subcommand; its callback runs the command and sets console.exit_code or throws pare::Error.
void add_inspect(CLI::App& app, Console& console);
void add_calibrate(CLI::App& app, Console& console);
void add_compress(CLI::App& app, Console& console);
void add_eval(CLI::App& app, Console& console);
void add_convert(CLI::App& app, Console& console);
void add_pull(CLI::App& app, Console& console);
void add_report(CLI::App& app, Console& console);
void add_tokenize(CLI::App& app, Console& console);
void add_run(CLI::App& app, Console& console);
void add_bench(CLI::App& app, Console& console);
void add_bench_kernels(CLI::App& bench, Console& console);  // a subcommand of bench
void add_serve(CLI::App& app, Console& console);
void add_tune(CLI::App& app, Console& console);

}  // namespace pare
