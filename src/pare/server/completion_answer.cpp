#include "pare/server/completion_answer.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>

#include "pare/base/error.h"
#include "pare/base/version.h"
#include "pare/server/token_json.h"

namespace pare {
namespace {

std::string random_id(const char* prefix) {
  std::random_device device;
  char text[40];
  std::snprintf(text, sizeof text, "%s%08x%08x%08x", prefix, device(), device(), device());
  return text;
}

int64_t now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

class CompletionAnswer : public Answer {
 public:
  CompletionAnswer(CompletionCall call, std::shared_ptr<const Service> service,
                   std::vector<std::shared_ptr<Generation>> handles)
      : call_(std::move(call)),
        service_(std::move(service)),
        handles_(std::move(handles)),
        choices_(handles_.size()),
        id_(random_id(call_.chat ? "chatcmpl-" : "cmpl-")),
        created_(now_s()) {
    streamed = call_.stream;
    if (streamed) {
      content_type = "text/event-stream; charset=utf-8";
      headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
    }
  }
  ~CompletionAnswer() override { abandon(); }

  void on_ready(std::function<void()> wake) override {
    for (const auto& handle : handles_) handle->on_ready(wake, !streamed);
    if (streamed) wake();  // the head of the answer goes out at once
  }
  void abandon() override {
    for (const auto& handle : handles_) handle->cancel();
  }
  bool pull(std::string& out) override { return streamed ? pull_events(out) : pull_whole(out); }

 private:
  struct Choice {
    Generation::Update so_far;  // of a whole answer
    bool began = false, ended = false;
    int64_t characters = 0;  // of text, up to the next token
  };

  bool pull_events(std::string& out);
  bool pull_whole(std::string& out);
  void add_event(std::string& out, const AnswerJson& event) const { out += "data: " + text_of(event) + "\n\n"; }
  AnswerJson head(const char* object) const;
  AnswerJson choice_json(size_t i, const Generation::Update& update, bool as_event);
  AnswerJson logprobs(size_t i, const std::vector<TokenRecord>& tokens);
  AnswerJson usage() const;
  static bool went_well(Finish finish) { return finish == Finish::stop || finish == Finish::length; }
  // Echo: the prompt's text and scores go in front.
  void put_prompt_in_front(size_t i, Generation::Update& update) const;

  const CompletionCall call_;
  const std::shared_ptr<const Service> service_;
  const std::vector<std::shared_ptr<Generation>> handles_;
  std::vector<Choice> choices_;
  const std::string id_;
  const int64_t created_;
};

AnswerJson CompletionAnswer::head(const char* object) const {
  return {{"id", id_},
          {"object", object},
          {"created", created_},
          {"model", service_->facts.id},
          {"system_fingerprint", "pare-" + version()}};
}

AnswerJson CompletionAnswer::usage() const {
  Usage sum;
  for (size_t i = 0; i < handles_.size(); ++i) {
    const Usage one = handles_[i]->usage();
    sum.generated_tokens += one.generated_tokens;
    if (i % static_cast<size_t>(call_.choices) != 0) continue;  // a prompt counts once
    sum.prompt_tokens += one.prompt_tokens;
    sum.cached_tokens += one.cached_tokens;
  }
  return {{"prompt_tokens", sum.prompt_tokens},
          {"completion_tokens", sum.generated_tokens},
          {"total_tokens", sum.prompt_tokens + sum.generated_tokens},
          {"prompt_tokens_details", {{"cached_tokens", sum.cached_tokens}}}};
}

void CompletionAnswer::put_prompt_in_front(size_t i, Generation::Update& update) const {
  update.text.insert(0, call_.prompt_texts[i / static_cast<size_t>(call_.choices)]);
  auto scores = handles_[i]->prompt_scores();
  update.tokens.insert(update.tokens.begin(), std::make_move_iterator(scores.begin()),
                       std::make_move_iterator(scores.end()));
}

AnswerJson CompletionAnswer::logprobs(size_t i, const std::vector<TokenRecord>& tokens) {
  if (!call_.logprobs) return nullptr;
  return call_.chat ? chat_logprobs(*service_, tokens) : completion_logprobs(*service_, tokens, choices_[i].characters);
}

AnswerJson CompletionAnswer::choice_json(size_t i, const Generation::Update& update, bool as_event) {
  AnswerJson json = {{"index", i}};
  if (!call_.chat) {
    json["text"] = update.text;
  } else if (!as_event) {
    json["message"] = {{"role", "assistant"}, {"content", update.text}, {"refusal", nullptr}};
  } else {
    json["delta"] = AnswerJson::object();
    if (!choices_[i].began) json["delta"]["role"] = "assistant";
    if (!update.text.empty() || !choices_[i].began) json["delta"]["content"] = update.text;
  }
  json["logprobs"] = logprobs(i, update.tokens);
  json["finish_reason"] = update.finish ? AnswerJson(name_of(*update.finish)) : AnswerJson();
  return json;
}

bool CompletionAnswer::pull_events(std::string& out) {
  const char* object = call_.chat ? "chat.completion.chunk" : "text_completion";
  bool all_ended = true;
  for (size_t i = 0; i < handles_.size(); ++i) {
    Choice& choice = choices_[i];
    if (choice.ended) continue;
    Generation::Update update = handles_[i]->take();
    const bool came = !update.text.empty() || !update.tokens.empty() || update.finish;
    if (came && !choice.began && call_.echo) put_prompt_in_front(i, update);
    if (update.finish && !went_well(*update.finish)) {
      const ApiError fault = fault_of(*handles_[i], *update.finish);
      out += "data: " + fault.body() + "\n\ndata: [DONE]\n\n";
      abandon();
      return true;
    }
    if (came || (call_.chat && !choice.began)) {
      AnswerJson event = head(object);
      event["choices"] = AnswerJson::array({choice_json(i, update, true)});
      if (call_.include_usage) event["usage"] = nullptr;
      add_event(out, event);
      choice.began = true;
    }
    choice.ended = update.finish.has_value();
    all_ended &= choice.ended;
  }
  if (!all_ended) return false;
  if (call_.include_usage) {
    AnswerJson event = head(object);
    event["choices"] = AnswerJson::array();
    event["usage"] = usage();
    add_event(out, event);
  }
  out += "data: [DONE]\n\n";
  return true;
}

bool CompletionAnswer::pull_whole(std::string& out) {
  bool all_ended = true;
  for (size_t i = 0; i < handles_.size(); ++i) {
    Generation::Update& so_far = choices_[i].so_far;
    if (so_far.finish) continue;
    Generation::Update update = handles_[i]->take();
    so_far.text += update.text;
    std::ranges::move(update.tokens, std::back_inserter(so_far.tokens));
    so_far.finish = update.finish;
    if (so_far.finish && !went_well(*so_far.finish)) {
      const ApiError fault = fault_of(*handles_[i], *so_far.finish);
      status = fault.status;
      out = fault.body();
      abandon();
      return true;
    }
    all_ended &= so_far.finish.has_value();
  }
  if (!all_ended) return false;
  AnswerJson body = head(call_.chat ? "chat.completion" : "text_completion");
  AnswerJson list = AnswerJson::array();
  for (size_t i = 0; i < handles_.size(); ++i) {
    if (call_.echo) put_prompt_in_front(i, choices_[i].so_far);
    list.push_back(choice_json(i, choices_[i].so_far, false));
  }
  body["choices"] = std::move(list);
  body["usage"] = usage();
  out = text_of(body);
  return true;
}

}  // namespace

ApiError fault_of(const Generation& generation, Finish finish) {
  if (finish == Finish::cancelled) return busy("the request was given up: the server stops, or its client hung up");
  if (finish == Finish::timed_out) {
    return {.status = 503, .message = "the request " + generation.error(), .type = "server_error", .code = "timeout"};
  }
  return {.status = 500, .message = generation.error(), .type = "server_error", .code = "generation_failed"};
}

std::vector<std::shared_ptr<Generation>> submit(Engine& engine, std::vector<GenerationRequest> requests,
                                                const std::string& field) {
  try {
    return engine.submit(std::move(requests));
  } catch (const BusyError& error) {
    throw busy(error.what());
  } catch (const InputError& error) {
    const bool length = std::string(error.what()).find("context") != std::string::npos;
    throw ApiError{
        .message = error.what(), .code = length ? "context_length_exceeded" : "invalid_value", .param = field};
  }
}

std::unique_ptr<Answer> complete(CompletionCall call, std::shared_ptr<const Service> service, Engine& engine) {
  auto handles = submit(engine, std::move(call.requests), call.chat ? "messages" : "prompt");
  return std::make_unique<CompletionAnswer>(std::move(call), std::move(service), std::move(handles));
}

}  // namespace pare
