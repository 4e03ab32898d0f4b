#include "pare/server/routes.h"

#include <nlohmann/json.hpp>

#include "pare/base/version.h"
#include "pare/server/assets.h"
#include "pare/server/completion_answer.h"
#include "pare/server/embeddings.h"
#include "pare/server/token_json.h"

namespace pare {
namespace {

std::unique_ptr<Answer> json_answer(const AnswerJson& json, int status = 200) {
  return std::make_unique<WholeAnswer>(status, "application/json", text_of(json));
}

AnswerJson model_json(const Service& service) {
  const ModelFacts& facts = service.facts;
  return {{"id", facts.id},
          {"object", "model"},
          {"created", facts.created},
          {"owned_by", "pare"},
          {"max_model_len", service.engine.context()},
          {"meta",
           {{"format", facts.format},
            {"parameters", facts.parameters},
            {"weight_bytes", facts.weight_bytes},
            {"vocab_size", service.tokenizer.vocab_size()}}}};
}

std::unique_ptr<Answer> one_model(const Service& service, const HttpRequest& request) {
  const std::string id = request.path.substr(std::string("/v1/models/").size());
  if (id != service.facts.id) {
    throw ApiError{.status = 404,
                   .message = "no model " + id + "; this server has " + service.facts.id,
                   .code = "model_not_found",
                   .param = "model"};
  }
  return json_answer(model_json(service));
}

std::unique_ptr<Answer> tokenize(const Service& service, const HttpRequest& request) {
  const RequestJson body = parse_body(request);
  const Fields fields(body, "");
  const char* key = fields.find("prompt") != nullptr ? "prompt" : "content";
  fields.required(key);
  const std::string text = *fields.text(key);
  const bool special = fields.flag("add_special", fields.flag("add_special_tokens", false));
  const auto ids = service.tokens_of(text, special, key);
  AnswerJson answer = {{"tokens", ids}, {"count", ids.size()}, {"max_model_len", service.engine.context()}};
  if (fields.flag("with_pieces", false)) {
    AnswerJson pieces = AnswerJson::array();
    for (int32_t id : ids) pieces.push_back(token_text(service, id));
    answer["pieces"] = std::move(pieces);
  }
  return json_answer(answer);
}

std::unique_ptr<Answer> detokenize(const Service& service, const HttpRequest& request) {
  const RequestJson body = parse_body(request);
  const Fields fields(body, "");
  const RequestJson& tokens = fields.required("tokens");
  if (!tokens.is_array()) fields.wrong("tokens", "a list of token ids");
  if (tokens.empty()) return json_answer({{"content", ""}, {"prompt", ""}});
  if (!tokens[0].is_number()) wrong_field("tokens[0]", tokens[0], "a token id");
  const auto prompts = read_prompts(fields, "tokens", service);
  const std::string text = service.tokenizer.decode(prompts[0].tokens, fields.flag("skip_special", false));
  return json_answer({{"content", text}, {"prompt", text}});
}

AnswerJson token_or_null(const Service& service, std::optional<int32_t> id) {
  return id ? AnswerJson(service.tokenizer.token(*id)) : AnswerJson();
}

AnswerJson chat_template_or_null(const Service& service) {
  const auto own = service.tokenizer.chat_template();
  return own ? AnswerJson(*own) : AnswerJson();
}

// As vLLM has it: lm_eval's remote tokenizer asks for it.
std::unique_ptr<Answer> tokenizer_info(const Service& service) {
  return json_answer({{"tokenizer", service.tokenizer.kind()},
                      {"vocab_size", service.tokenizer.vocab_size()},
                      {"bos_token", token_or_null(service, service.tokenizer.bos())},
                      {"eos_token", token_or_null(service, service.tokenizer.eos())},
                      {"chat_template", chat_template_or_null(service)}});
}

std::unique_ptr<Answer> props(const Service& service) {
  const EngineOptions& options = service.engine.options();
  AnswerJson ends = AnswerJson::array();
  for (int32_t id : options.end_tokens) ends.push_back(service.tokenizer.token(id));
  const std::string &warning = service.facts.chat_template_warning, &report = service.facts.report;
  return json_answer({{"model", service.facts.id},
                      {"format", service.facts.format},
                      {"parameters", service.facts.parameters},
                      {"weight_bytes", service.facts.weight_bytes},
                      {"context", service.engine.context()},
                      {"max_tokens", options.max_tokens},
                      {"slots", options.slots},
                      {"queue", options.queue},
                      {"cache_bytes", options.cache_bytes},
                      {"vocab_size", service.tokenizer.vocab_size()},
                      {"bos_token", token_or_null(service, service.tokenizer.bos())},
                      {"eos_token", token_or_null(service, service.tokenizer.eos())},
                      {"end_tokens", std::move(ends)},
                      {"chat_template", chat_template_or_null(service)},
                      {"report", report.empty() ? AnswerJson() : AnswerJson::parse(report)},
                      {"chat_template_warning", warning.empty() ? AnswerJson() : AnswerJson(warning)},
                      {"version", version()},
                      {"commit", git_commit()}});
}

}  // namespace

std::shared_ptr<Service> ServiceSlot::get() const {
  std::lock_guard lock(mutex_);
  return service_;
}

std::shared_ptr<Service> ServiceSlot::ready() const {
  if (draining_) throw busy("the server is shutting down");
  auto service = get();
  if (!service) {
    ApiError error = busy("the model is being loaded");
    error.code = "loading";
    throw error;
  }
  return service;
}

void ServiceSlot::set(std::shared_ptr<Service> service) {
  std::lock_guard lock(mutex_);
  service_ = std::move(service);
}

std::vector<HttpServer::Route> make_routes(ServiceSlot& slot) {
  using Request = const HttpRequest&;
  const auto with = [&slot](auto route) {
    return [&slot, route](Request request) { return route(*slot.ready(), request); };
  };
  return {
      {"GET", "/",
       [](Request) -> std::unique_ptr<Answer> {
         auto answer = std::make_unique<WholeAnswer>(200, "text/html; charset=utf-8", std::string(chat_page()));
         answer->headers = {
             {"Content-Security-Policy",
              "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
              "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
             {"Referrer-Policy", "no-referrer"}};
         return answer;
       },
       true},
      {"GET", "/openapi.json",
       [](Request) {
         return std::make_unique<WholeAnswer>(200, "application/json", std::string(openapi_description()));
       },
       true},
      {"GET", "/health",
       [&slot](Request) {
         slot.ready();
         return json_answer({{"status", "ok"}});
       },
       true},
      {"GET", "/metrics",
       [&slot](Request) -> std::unique_ptr<Answer> {
         const auto service = slot.get();
         const HttpServer* http = slot.http;
         return std::make_unique<WholeAnswer>(200, "text/plain; version=0.0.4; charset=utf-8",
                                              metrics_text(http ? http->counts() : HttpServer::Counts{},
                                                           service ? service->engine.stats() : EngineStats{}));
       }},
      {"GET", "/props", with([](Service& service, Request) { return props(service); })},
      {"GET", "/v1/models", with([](Service& service, Request) {
         return json_answer({{"object", "list"}, {"data", AnswerJson::array({model_json(service)})}});
       })},
      {"GET", "/v1/models/*", with([](Service& service, Request request) { return one_model(service, request); })},
      {"POST", "/v1/chat/completions",
       [&slot](Request request) {
         const auto service = slot.ready();
         return complete(read_chat_call(parse_body(request), *service), service, service->engine);
       }},
      {"POST", "/v1/completions",
       [&slot](Request request) {
         const auto service = slot.ready();
         return complete(read_completion_call(parse_body(request), *service), service, service->engine);
       }},
      {"POST", "/v1/embeddings", [&slot](Request request) { return embed(parse_body(request), slot.ready()); }},
      {"GET", "/tokenizer_info", with([](Service& service, Request) { return tokenizer_info(service); })},
      {"POST", "/tokenize", with([](Service& service, Request request) { return tokenize(service, request); })},
      {"POST", "/detokenize", with([](Service& service, Request request) { return detokenize(service, request); })},
  };
}

}  // namespace pare
