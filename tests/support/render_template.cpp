// render_template < REQUESTS > ANSWERS: chat templates rendered by Pare, one JSON object a line, for comparing by
// script. {template, messages, tools, add_generation_prompt, bos_token, eos_token, extra} -> {output} or {error, kind}
// render_template --gguf MODEL: the template that the model's tokenizer holds.

#include <iostream>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/text/chat_template.h"
#include "pare/text/tokenizer.h"

namespace {

using Json = nlohmann::ordered_json;

Json answer(const Json& request) {
  pare::ChatTemplate::Input input;
  input.messages = request.value("messages", Json());
  input.tools = request.value("tools", Json());
  input.extra = request.value("extra", Json());
  input.add_generation_prompt = request.value("add_generation_prompt", true);
  input.bos_token = request.value("bos_token", "");
  input.eos_token = request.value("eos_token", "");
  try {
    const auto source = request.at("template").get<std::string>();
    return {{"output", pare::ChatTemplate::parse(source, "template").render(input)}};
  } catch (const pare::InputError& error) {
    return {{"error", error.what()}, {"kind", "input"}};
  } catch (const pare::UnsupportedError& error) {
    return {{"error", error.what()}, {"kind", "unsupported"}};
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 3 && std::string(argv[1]) == "--gguf") {
      std::cout << pare::Tokenizer::open(argv[2]).chat_template().value_or("");
      return 0;
    }
    for (std::string line; std::getline(std::cin, line);) {
      std::cout << answer(pare::parse_ordered_json(line, "request")).dump() << "\n";
    }
  } catch (const std::exception& error) {
    std::cerr << "render_template: " << error.what() << "\n";
    return 1;
  }
}
