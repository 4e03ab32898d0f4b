#include "pare/cli/commands.h"

#include <CLI/CLI.hpp>

namespace pare {

CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& description) {
  return parent.add_subcommand(name, description);
}

}  // namespace pare
