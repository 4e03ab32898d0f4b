#include "pare/cli/usage_hint.h"

#include <CLI/CLI.hpp>
#include <vector>

#include "pare/base/units.h"

namespace pare {

std::string did_you_mean(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  const CLI::App& command = parsed.empty() ? app : *parsed.back();
  for (const std::string& word : app.remaining(/*recurse=*/true)) {
    if (!word.starts_with("-")) {
      if (!parsed.empty()) continue;  // a file too many, or the value of an unknown option
      std::vector<std::string> names;
      for (const CLI::App* sub : app.get_subcommands(nullptr)) names.push_back(sub->get_name());
      return nearest_word(word, names);
    }
    std::vector<std::string> names;  // without dashes, which would count as letters in common
    for (const CLI::Option* option : command.get_options()) {
      names.insert(names.end(), option->get_lnames().begin(), option->get_lnames().end());
    }
    const size_t begin = word.find_first_not_of('-');
    if (begin == std::string::npos) continue;
    const std::string nearest = nearest_word(word.substr(begin, word.find('=') - begin), names);
    return nearest.empty() ? "" : "--" + nearest;
  }
  return "";
}

}  // namespace pare
