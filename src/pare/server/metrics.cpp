#include <cstdio>

#include "pare/base/resources.h"
#include "pare/runtime/generation.h"
#include "pare/server/routes.h"

namespace pare {
namespace {

class Metrics {
 public:
  void add(const char* name, const char* type, const char* help, double value) {
    head(name, type, help);
    sample(name, "", value);
  }
  void head(const char* name, const char* type, const char* help) {
    text += std::string("# HELP pare_") + name + " " + help + "\n# TYPE pare_" + name + " " + type + "\n";
  }
  void sample(const char* name, const std::string& labels, double value) {
    char number[40];
    std::snprintf(number, sizeof number, "%.15g", value);
    text += std::string("pare_") + name + labels + " " + number + "\n";
  }
  std::string text;
};

}  // namespace

std::string metrics_text(const HttpServer::Counts& http, const EngineStats& engine) {
  Metrics metrics;
  const auto number = [](auto value) { return static_cast<double>(value); };
  metrics.head("http_responses_total", "counter", "Answers by class of status.");
  for (int i = 1; i < 6; ++i) {
    metrics.sample("http_responses_total", "{status=\"" + std::to_string(i) + "xx\"}", number(http.by_status[i]));
  }
  metrics.add("http_requests_total", "counter", "Requests whose headers came.", number(http.requests));
  metrics.add("http_connections", "gauge", "Open connections.", number(http.open_connections));
  metrics.add("sequences_running", "gauge", "Sequences worked on at once.", number(engine.running));
  metrics.add("sequences_waiting", "gauge", "Sequences in the queue.", number(engine.waiting));
  metrics.add("refused_total", "counter", "Sequences refused because the queue was full.", number(engine.refused));
  metrics.add("preempted_total", "counter", "Sequences put back because memory was full.", number(engine.preempted));
  metrics.head("finished_total", "counter", "Sequences by how they ended.");
  for (const Finish finish : {Finish::stop, Finish::length, Finish::cancelled, Finish::timed_out, Finish::failed}) {
    metrics.sample("finished_total", std::string("{reason=\"") + name_of(finish) + "\"}",
                   number(engine.ended[static_cast<int>(finish)]));
  }
  metrics.add("prompt_tokens_total", "counter", "Prompt tokens computed.", number(engine.prompt_tokens));
  metrics.add("cached_tokens_total", "counter", "Prompt tokens found computed.", number(engine.cached_tokens));
  metrics.add("generated_tokens_total", "counter", "Tokens generated.", number(engine.generated_tokens));
  metrics.add("passes_total", "counter", "Passes through the model.", number(engine.passes));
  metrics.add("busy_seconds_total", "counter", "Time in the model.", engine.busy_s);
  metrics.add("cache_bytes", "gauge", "Keys and values of all sequences.", number(engine.cache_bytes));
  metrics.add("kept_bytes", "gauge", "Of these, kept for prompts that begin the same.", number(engine.kept_bytes));
  metrics.add("kept_sequences", "gauge", "Sequences kept for that.", number(engine.kept));
  metrics.add("resident_bytes", "gauge", "Memory of this process.", number(current_rss_bytes()));
  return metrics.text;
}

}  // namespace pare
