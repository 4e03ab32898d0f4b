// pare serve MODEL [--host ADDRESS] [--port N] [--api-key-file FILE] [--slots N] ...
//
// The model behind OpenAI's routes, until SIGTERM or Ctrl-C: then what runs is finished and the exit code is 0.

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/base/json.h"
#include "pare/base/log.h"
#include "pare/base/part_name.h"
#include "pare/base/resources.h"
#include "pare/base/units.h"
#include "pare/cli/commands.h"
#include "pare/cli/model_report.h"
#include "pare/cli/runtime_options.h"
#include "pare/runtime/end_tokens.h"
#include "pare/server/listen_socket.h"
#include "pare/server/routes.h"

namespace pare {
namespace {

struct ServeArgs {
  std::filesystem::path model, key_file;
  std::string alias, cache_memory, body = "10MB";
  RuntimeArgs runtime;
  int64_t batch = 512;
  EngineOptions engine;
  HttpOptions http;
  int drain_seconds = 30;
  bool allow_open = false;
};

// One key a line; PARE_API_KEY is another way to give one.
std::vector<std::string> read_keys(const std::filesystem::path& path) {
  std::vector<std::string> keys;
  if (!path.empty()) {
    std::ifstream file(path);
    if (!file) throw InputError(path.string() + ": cannot be opened; expected a file with one key a line");
    for (std::string line; std::getline(file, line);) {
      while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
      if (!line.empty()) keys.push_back(line);
    }
    if (keys.empty()) throw InputError(path.string() + ": is empty; expected one key a line");
  }
  if (const char* key = std::getenv("PARE_API_KEY"); key != nullptr && *key != '\0') keys.emplace_back(key);
  return keys;
}

ModelFacts facts_of(const ModelFiles& files, const ServeArgs& args, const std::string& warning) {
  ModelFacts facts;
  auto name = std::filesystem::absolute(args.model).lexically_normal();
  if (!name.has_filename()) name = name.parent_path();
  const bool is_file = name.extension() == ".gguf";
  facts.id = !args.alias.empty() ? args.alias
             : is_file           ? without_part(name).filename().string()
                                 : name.filename().string();
  facts.format = files.format();
  facts.chat_template_warning = warning;
  facts.created =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  for (const ParameterInfo& parameter : files.parameters()) {
    uint64_t count = 1;
    for (int64_t extent : parameter.shape) count *= static_cast<uint64_t>(extent);
    facts.parameters += count;
  }
  return facts;
}

// Half of what is free, within all slots full; one whole context at least.
uint64_t usual_cache_bytes(const LanguageModel& model, int64_t slots) {
  const uint64_t one = model.bytes_of(model.context());
  return std::max(one, std::min(one * static_cast<uint64_t>(slots), available_memory_bytes() / 2));
}

// What is loaded, in the order that it may go.
struct Loaded {
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<Model> model;
  std::unique_ptr<LanguageModel> language_model;
};

std::shared_ptr<Service> load(const ServeArgs& args, Loaded& loaded) {
  const ModelFiles files = ModelFiles::open(args.model);
  Tokenizer tokenizer = Tokenizer::open(args.model);
  std::string warning;
  ChatTemplate chat_template = ChatTemplate::of(tokenizer, &warning);
  if (!warning.empty()) log_line(Level::warning, warning);
  loaded.pool =
      std::make_unique<ThreadPool>(ThreadPool::Options{.threads = args.runtime.threads, .pin = args.runtime.pin});
  RuntimeOptions options = args.runtime.options();
  options.batch = args.batch;
  loaded.model = std::make_unique<Model>(Model::load(files, options, *loaded.pool));
  loaded.language_model = as_language_model(*loaded.model);
  ModelFacts facts = facts_of(files, args, warning);
  std::string report_warning;
  facts.report = model_report(files, &report_warning).value_or("");
  if (!report_warning.empty()) log_line(Level::warning, report_warning);
  facts.weight_bytes = loaded.model->weight_bytes();
  EngineOptions engine = args.engine;
  engine.batch = args.batch;
  engine.cache_bytes = args.cache_memory.empty() ? usual_cache_bytes(*loaded.language_model, engine.slots)
                                                 : parse_bytes(args.cache_memory, "--cache-memory");
  engine.end_tokens = end_tokens(files, tokenizer);
  return std::make_shared<Service>(std::move(facts), std::move(tokenizer), std::move(chat_template),
                                   *loaded.language_model, engine);
}

void say_ready(const HttpServer& http, const Service& service, bool json) {
  const std::string url = http.address();
  if (json) {
    std::printf("%s\n",
                dump_json({{"url", url}, {"model", service.facts.id}, {"context", service.engine.context()}}).c_str());
  } else {
    std::printf("%s is served at %s (context %lld tokens, %s for keys and values)\n", service.facts.id.c_str(),
                url.c_str(), static_cast<long long>(service.engine.context()),
                format_bytes(service.engine.options().cache_bytes).c_str());
  }
  std::fflush(stdout);
}

void wait_for_signal() {
  try {
    while (true) {
      stop_if_interrupted();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  } catch (const Interrupted&) {
  }
}

void serve(ServeArgs args, Console& console) {
  args.http.keys = read_keys(args.key_file);
  if (args.http.keys.empty() && !args.allow_open && !is_loopback_host(args.http.host)) {
    throw UsageError("--host " + args.http.host +
                     " is reached from other machines and there is no key: anybody could use this server. Give "
                     "--api-key-file FILE, or --allow-open if that is meant");
  }
  args.http.body_bytes = parse_bytes(args.body, "--body");
  keep_heap_compact();

  Loaded loaded;
  ServiceSlot slot;
  HttpServer http(args.http, make_routes(slot));  // answers "loading" from here on
  slot.http = &http;
  slot.set(load(args, loaded));
  say_ready(http, *slot.get(), console.json);
  wait_for_signal();

  slot.set_draining();
  http.stop_listening();
  log_line(Level::info, "finishing what runs; again to stop at once");
  const bool finished = slot.get()->engine.drain(std::chrono::seconds(args.drain_seconds));
  if (!finished)
    log_line(Level::warning, "what still ran after " + std::to_string(args.drain_seconds) + " s was cut off");
  http.wait_idle(std::chrono::seconds(2));
  slot.http = nullptr;
}

}  // namespace

void add_serve(CLI::App& app, Console& console) {
  auto args = std::make_shared<ServeArgs>();
  CLI::App* command = add_command(app, "serve", "Answer OpenAI's HTTP requests with a model, and show a chat page");
  const CLI::Range many(int64_t{1}, int64_t{1} << 30);
  command->add_option("model", args->model, "Hugging Face folder or .gguf file")->required();
  command->add_option("--host", args->http.host, "address to listen on")->capture_default_str();
  command->add_option("-p,--port", args->http.port, "0: any free one")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command->add_option("--api-key-file", args->key_file, "bearer keys, one a line (or one in PARE_API_KEY)")
      ->type_name("FILE");
  command->add_flag("--allow-open", args->allow_open, "listen on an address of the network without a key");
  command->add_option("--cors", args->http.cors_origin, "a page from there may call: an origin, or * (default: none)")
      ->type_name("ORIGIN");
  command->add_option("--alias", args->alias, "what the model is called (default: the name of its file)");
  args->runtime.add_to(*command);
  command->add_option("--slots", args->engine.slots, "sequences worked on at once")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--queue", args->engine.queue, "sequences that may wait; then 503")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command->add_option("--max-tokens", args->engine.max_tokens, "of one answer (default: what fits in the context)")
      ->check(many);
  command->add_option("--batch", args->batch, "prompt tokens computed together")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command
      ->add_option("--cache-memory", args->cache_memory,
                   "for keys and values of all sequences, those kept included (default: half of what is free)")
      ->type_name("SIZE");
  command->add_option("--body", args->body, "largest request")->type_name("SIZE")->capture_default_str();
  command->add_option("--connections", args->http.connections, "open at once")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--read-seconds", args->http.read_seconds, "for a whole request to arrive")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  command->add_option("--request-seconds", args->engine.seconds, "for a whole answer; 0: no limit")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
  command->add_option("--drain-seconds", args->drain_seconds, "for what runs to finish after SIGTERM")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  command->add_flag("--json", console.json, "say where it listens as one JSON object on stdout");
  command->footer(
      "Examples:\n"
      "  pare serve model.gguf\n"
      "  pare serve small/ --port 0 --slots 16 --api-key-file keys.txt --host 0.0.0.0");
  command->callback([args, &console] { serve(*args, console); });
}

}  // namespace pare
