// pare tokenize MODEL [--text TEXT] [--decode] [--special] [--json]
//
// What a model's tokenizer makes of a text, and of ids. One line in, one line out; with --json each line is a JSON
// value, so that texts may hold line ends.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/cli/commands.h"
#include "pare/text/tokenizer.h"

namespace pare {
namespace {

struct TokenizeArgs {
  std::string model;
  std::optional<std::string> text;
  bool decode = false;
  bool plain = false;
  bool dump = false;
};

std::string json_line(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::vector<int32_t> read_ids(const std::string& line, const std::string& where, bool json) {
  std::vector<int32_t> ids;
  const auto add = [&](int64_t id) {
    if (id < INT32_MIN || id > INT32_MAX) throw InputError(where + ": id " + std::to_string(id) + " is out of range");
    ids.push_back(static_cast<int32_t>(id));
  };
  if (json) {
    const auto list = parse_json(line, where);
    if (!list.is_array()) throw InputError(where + ": expected a list of ids");
    for (const auto& item : list) {
      if (!item.is_number_integer()) throw InputError(where + ": expected a list of ids, found " + json_line(item));
      add(item.get<int64_t>());
    }
    return ids;
  }
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    size_t used = 0;
    int64_t id = -1;
    try {
      id = std::stoll(word, &used);
    } catch (const std::exception&) {
      used = 0;
    }
    if (used != word.size()) throw InputError(where + ": expected ids, found \"" + word + "\"");
    add(id);
  }
  return ids;
}

std::string answer(const Tokenizer& tokenizer, const TokenizeArgs& args, const std::string& line,
                   const std::string& where, bool json) {
  if (args.decode) {
    const std::string text = tokenizer.decode(read_ids(line, where, json), args.plain);
    return json ? json_line(text) : text;
  }
  std::string text = line;
  if (json && !args.text) {
    const auto value = parse_json(line, where);
    if (!value.is_string()) throw InputError(where + ": expected a JSON string, found " + json_line(value));
    text = value.get<std::string>();
  }
  const auto ids = tokenizer.encode(text, !args.plain);
  std::string result = json ? "[" : "";
  for (size_t i = 0; i < ids.size(); i++) {
    if (i > 0) result += json ? "," : " ";
    result += std::to_string(ids[i]);
  }
  return json ? result + "]" : result;
}

void tokenize(const TokenizeArgs& args, bool json) {
  const Tokenizer tokenizer = Tokenizer::open(args.model);
  if (args.dump) {
    std::fputs(tokenizer.to_json().c_str(), stdout);
    return;
  }
  if (args.text) {
    std::puts(answer(tokenizer, args, *args.text, "--text", json && !args.decode).c_str());
    return;
  }
  std::ios::sync_with_stdio(false);
  size_t number = 0;
  for (std::string line; std::getline(std::cin, line);) {
    const std::string where = "line " + std::to_string(++number) + " of the input";
    std::cout << answer(tokenizer, args, line, where, json) << '\n';
  }
  std::cout.flush();
  if (!std::cout) throw ResourceError("standard output: cannot be written");
}

}  // namespace

void add_tokenize(CLI::App& app, Console& console) {
  auto args = std::make_shared<TokenizeArgs>();
  CLI::App* command = add_command(app, "tokenize", "What a model's tokenizer makes of a text");
  command->add_option("model", args->model, "Hugging Face folder, tokenizer.json or .gguf file")->required();
  command->add_option("--text", args->text, "one text (default: each line of standard input)");
  command->add_flag("--decode", args->decode, "from ids to text");
  command->add_flag("--plain", args->plain, "without BOS and EOS; with --decode: without special tokens");
  command->add_flag("--dump", args->dump, "print a tokenizer.json that gives the same ids (for a .gguf file)");
  command->add_flag("--json", console.json, "a JSON value a line: a string for a text, a list of numbers for ids");
  command->footer(
      "Examples:\n"
      "  pare tokenize model.gguf --text 'Hello, world'\n"
      "  pare tokenize model/ --decode --text '9906 11 1917'");
  command->callback([args, &console] { tokenize(*args, console.json); });
}

}  // namespace pare
