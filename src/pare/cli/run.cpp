// pare run MODEL ["prompt"]: text from a model, as it comes. Without a prompt: a conversation, a line a turn.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/base/json.h"
#include "pare/base/log.h"
#include "pare/base/resources.h"
#include "pare/cli/commands.h"
#include "pare/cli/runtime_options.h"
#include "pare/runtime/end_tokens.h"
#include "pare/runtime/engine.h"
#include "pare/runtime/json_grammar.h"
#include "pare/text/chat_template.h"

namespace pare {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

struct RunArgs {
  std::filesystem::path model;
  std::string prompt, system, schema;
  bool has_prompt = false, chat = false, raw = false, json_output = false, verbose = false;
  int64_t tokens = 0;
  RuntimeArgs runtime;
  SamplingOptions sampling;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::shared_ptr<const Grammar> grammar_of(const RunArgs& args) {
  if (args.schema.empty()) return args.json_output ? Grammar::json_object() : nullptr;
  std::ifstream file(args.schema, std::ios::binary);
  if (!file) throw InputError(args.schema + ": cannot be opened; --json-schema wants a file with a JSON schema");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return Grammar::json_schema(parse_ordered_json(text, args.schema));
}

class Session {
 public:
  Session(const RunArgs& args, const ModelFiles& files, Model& model)
      : args_(args),
        tokenizer_(Tokenizer::open(args.model)),
        language_model_(as_language_model(model)),
        engine_(*language_model_, tokenizer_, engine_options(files)),
        template_(ChatTemplate::of(tokenizer_, &warning_)) {
    check(args.sampling, model.vocab_size());
    if (uses_template() && !warning_.empty()) log_line(Level::warning, warning_);
  }

  // With a template unless it is asked not to be used, or there is none of the model's own.
  bool uses_template() const { return !args_.raw && (args_.chat || !args_.has_prompt || !template_.is_plain()); }

  void once() {
    if (!uses_template()) {
      write(tokenizer_.encode(args_.prompt));
      return;
    }
    begin();
    say("user", args_.prompt);
    write(rendered());
  }

  void conversation() {
    const bool terminal = isatty(STDIN_FILENO) != 0;
    if (terminal) std::fprintf(stderr, "A line is a turn; an empty line or Ctrl-D ends.\n");
    begin();
    for (std::string line;;) {
      if (terminal) std::fprintf(stderr, "> ");
      if (!std::getline(std::cin, line) || line.empty()) break;
      say("user", line);
      say("assistant", write(rendered()));
    }
  }

 private:
  EngineOptions engine_options(const ModelFiles& files) const {
    EngineOptions options;
    options.slots = 1;
    options.seconds = 0;
    options.end_tokens = end_tokens(files, tokenizer_);
    return options;
  }

  void begin() {
    messages_ = json::array();
    if (!args_.system.empty()) say("system", args_.system);
  }
  void say(const char* role, const std::string& content) {
    messages_.push_back({{"role", role}, {"content", content}});
  }

  std::vector<int32_t> rendered() const {
    const auto token = [&](std::optional<int32_t> id) { return id ? tokenizer_.token(*id) : std::string(); };
    ChatTemplate::Input input;
    input.messages = messages_;
    input.bos_token = token(tokenizer_.bos());
    input.eos_token = token(tokenizer_.eos());
    return tokenizer_.encode(template_.render(input), /*add_special_tokens=*/template_.is_plain());
  }

  // Streams the answer and returns it.
  std::string write(std::vector<int32_t> prompt) {
    if (prompt.empty()) throw UsageError("run: the prompt is empty, and this model has no token that begins a text");
    GenerationRequest request;
    request.prompt = std::move(prompt);
    if (args_.tokens > 0)
      request.max_tokens =
          std::min(args_.tokens, std::max<int64_t>(1, engine_.context() - static_cast<int64_t>(request.prompt.size())));
    request.sampling = args_.sampling;
    request.grammar = grammar_of(args_);
    const auto start = Clock::now();
    const auto generation = engine_.submit({std::move(request)}).front();
    std::string answer;
    double first = 0;
    while (true) {
      const Generation::Update update = generation->next(std::chrono::milliseconds(50));
      if (!update.tokens.empty() && first == 0) first = seconds_since(start);
      answer += update.text;
      std::fwrite(update.text.data(), 1, update.text.size(), stdout);
      if (std::fflush(stdout) != 0) throw ResourceError("run: standard output cannot be written");
      if (update.finish) {
        std::fputc('\n', stdout);
        report(*generation, *update.finish, first, seconds_since(start));
        return answer;
      }
      try {
        stop_if_interrupted();
      } catch (const Interrupted&) {
        generation->cancel();
        std::fputc('\n', stdout);
        throw;
      }
    }
  }

  void report(const Generation& generation, Finish finish, double first, double total) const {
    if (finish == Finish::failed) {
      const std::string fault = generation.error();
      throw Error(fault.starts_with(kNoMemory) ? Exit::resources : Exit::failed, fault);
    }
    const Usage usage = generation.usage();
    if (finish == Finish::length && args_.tokens == 0)
      log_line(Level::warning, "the context is full; --context gives more room");
    if (!args_.verbose) return;
    const double rest = total - first;
    std::fprintf(stderr,
                 "%lld tokens of prompt (%lld already computed), first token after %.2f s; %lld tokens written, %.1f a "
                 "second; peak memory %.0f MB\n",
                 static_cast<long long>(usage.prompt_tokens), static_cast<long long>(usage.cached_tokens), first,
                 static_cast<long long>(usage.generated_tokens),
                 rest > 0 ? static_cast<double>(usage.generated_tokens - 1) / rest : 0.0,
                 static_cast<double>(peak_rss_bytes()) / 1e6);
  }

  const RunArgs& args_;
  Tokenizer tokenizer_;
  std::string warning_;
  std::unique_ptr<LanguageModel> language_model_;
  Engine engine_;
  ChatTemplate template_;
  json messages_ = json::array();
};

void run(const RunArgs& args) {
  ThreadPool pool({.threads = args.runtime.threads, .pin = args.runtime.pin});
  check(args.sampling);
  const ModelFiles files = ModelFiles::open(args.model);
  Model model = Model::load(files, args.runtime.options(), pool);
  Session session(args, files, model);
  if (args.has_prompt) {
    session.once();
  } else {
    session.conversation();
  }
}

}  // namespace

void add_run(CLI::App& app, Console&) {
  auto args = std::make_shared<RunArgs>();
  CLI::App* command = add_command(app, "run", "Text from a model, as it comes; without a prompt a conversation");
  command->add_option("model", args->model, "Hugging Face folder or .gguf file")->required();
  auto* prompt = command->add_option("prompt", args->prompt, "What to answer, or with --raw what to go on from");
  command->add_option("-n,--tokens", args->tokens, "At most so many; 0: what fits in the context")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24));
  command->add_option("--system", args->system, "What the model is told first");
  auto* chat =
      command->add_flag("--chat", args->chat, "As a conversation, also when the model has no template of its own");
  command->add_flag("--raw", args->raw, "The prompt as it stands, without the model's chat template")->excludes(chat);
  command->add_flag("--json-output", args->json_output, "The answer is one JSON object");
  command->add_option("--json-schema", args->schema, "The answer is JSON that obeys the schema in this file");
  SamplingOptions& s = args->sampling;
  command->add_option("--temp", s.temperature, "0: the likeliest token")->capture_default_str();
  command->add_option("--top-k", s.top_k, "0: all")->capture_default_str();
  command->add_option("--top-p", s.top_p, "1: all")->capture_default_str();
  command->add_option("--min-p", s.min_p, "0: all")->capture_default_str();
  command->add_option("--repeat-penalty", s.repeat_penalty, "1: none")->capture_default_str();
  command->add_option("--seed", s.seed, "The same seed, the same text")->capture_default_str();
  args->runtime.add_to(*command);
  command->add_flag("-v,--verbose", args->verbose, "Tokens a second and memory, on stderr");
  command->footer(
      "Examples:\n  pare run small.gguf \"What is a prime number?\"\n  pare run small.gguf --temp 0 -n 100 --raw "
      "\"Once upon a "
      "time\"");
  command->callback([args, prompt] {
    args->has_prompt = !prompt->empty();
    run(*args);
  });
}

}  // namespace pare
