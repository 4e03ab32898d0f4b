// pare eval MODEL [--against ORIGINAL] --text FILE [--length 2048] [--tokens N]
//
// Perplexity of a model on a text and, beside its original, how far its predictions moved.

#include <CLI/CLI.hpp>
#include <memory>

#include "pare/cli/commands.h"
#include "pare/cli/torch_work.h"

namespace pare {

void add_eval(CLI::App& app, Console& console) {
  auto args = std::make_shared<EvalArgs>();
  CLI::App* command = add_command(app, "eval", "Perplexity of a model, and how far it is from its original");
  command->add_option("model", args->model, "Hugging Face folder or .gguf file")->required();
  command->add_option("--against", args->against, "the original: adds KL divergence and top-1 agreement");
  command
      ->add_option("--text", args->text, "UTF-8 text to predict; of several, --text A --text B, joined as they stand")
      ->required()
      ->allow_extra_args(false)  // the next word may be MODEL
      ->type_name("FILE");
  command->add_option("--length", args->length, "tokens a window; windows do not overlap")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 20))
      ->type_name("TOKENS")
      ->capture_default_str();
  command->add_option("--tokens", args->tokens, "use the first so many tokens of the text (default: all)")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 40))
      ->type_name("TOKENS");
  command->add_option("--dtype", args->dtype, "what products are computed in")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  command->add_option("--threads", args->threads, "default: as many as cores")->check(CLI::Range(1, 4096));
  command->add_flag("--json", console.json, "one JSON object on stdout");
  command->footer(
      "Examples:\n"
      "  pare eval model.gguf --text test.txt\n"
      "  pare eval small/ --against original/ --text test.txt --tokens 65536 --json");
  command->callback([args, &console] { eval_work(*args, console); });
}

}  // namespace pare
