#include "pare/cli/usage_hint.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

#include "pare/cli/commands.h"

namespace pare {
namespace {

// What is said of a command line that cannot be parsed.
std::string hint_for(const std::string& words) {
  CLI::App app{"", "pare"};
  app.require_subcommand(1);
  Console console;
  add_compress(app, console);
  add_eval(app, console);
  try {
    app.parse(words);
  } catch (const CLI::ParseError&) {
    return did_you_mean(app);
  }
  ADD_FAILURE() << words << " was understood";
  return "";
}

TEST(UsageHint, NamesTheNearestOptionOfTheCommandThatWasGiven) {
  EXPECT_EQ(hint_for("compress m -o out --bist 4"), "--bits");
  EXPECT_EQ(hint_for("compress m -o out --bist=4"), "--bits");
  EXPECT_EQ(hint_for("eval m --text t --againts o"), "--against");
  EXPECT_EQ(hint_for("eval m --text t --lenght 9"), "--length");
}

TEST(UsageHint, NamesTheNearestCommand) {
  EXPECT_EQ(hint_for("comprss m -o out"), "compress");
}

TEST(UsageHint, IsSilentWhereNothingIsNear) {
  EXPECT_EQ(hint_for("eval m --text t --zzzzzzzz"), "");
  EXPECT_EQ(hint_for("eval m other.txt --text t"), "");
  EXPECT_EQ(hint_for("eval m"), "");  // --text is missing, and no word is unknown
}

}  // namespace
}  // namespace pare
