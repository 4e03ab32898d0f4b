#include "pare/server/completion_request.h"

#include <algorithm>
#include <limits>
#include <random>

#include "pare/base/error.h"
#include "pare/runtime/json_grammar.h"

namespace pare {
namespace {

constexpr int64_t kMany = std::numeric_limits<int64_t>::max();
constexpr int64_t kMostChoices = 64;
constexpr size_t kMostStops = 16;
constexpr size_t kLongestStop_bytes = 1000;
constexpr int64_t kMostAlternatives = 20;
constexpr int64_t kUsualTokens = 16;  // of a completion, as OpenAI has it; a chat's answer takes what remains

uint64_t any_seed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) ^ device();
}

SamplingOptions read_sampling(const Fields& fields, const Service& service) {
  SamplingOptions options;
  options.temperature = fields.number("temperature", 0, 100).value_or(1);
  options.top_p = fields.number("top_p", 0, 1).value_or(1);
  options.top_k = static_cast<int>(fields.integer("top_k", -1, INT32_MAX).value_or(0));
  options.top_k = std::max(options.top_k, 0);
  options.min_p = fields.number("min_p", 0, 1).value_or(0);
  options.presence_penalty = fields.number("presence_penalty", -2, 2).value_or(0);
  options.frequency_penalty = fields.number("frequency_penalty", -2, 2).value_or(0);
  for (const char* name : {"repeat_penalty", "repetition_penalty"}) {
    options.repeat_penalty = fields.number(name, 0.01, 100).value_or(options.repeat_penalty);
  }
  options.repeat_last = static_cast<int>(fields.integer("repeat_last_n", -1, INT32_MAX).value_or(-1));
  const auto seed = fields.integer("seed", std::numeric_limits<int64_t>::min(), kMany);
  options.seed = seed ? static_cast<uint64_t>(*seed) : any_seed();
  if (const RequestJson* biases = fields.find("logit_bias")) {
    if (!biases->is_object()) fields.wrong("logit_bias", "an object from token ids to numbers");
    const int64_t vocabulary = service.tokenizer.vocab_size();
    for (const auto& [key, value] : biases->items()) {
      const std::string name = "logit_bias." + key.substr(0, 20);
      const bool digits = !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == std::string::npos;
      if (!digits || std::stoll(key) >= vocabulary) {
        wrong_field(name, key, "the id of a token, 0 to " + std::to_string(vocabulary - 1));
      }
      const double bias = value.is_number() ? value.get<double>() : std::nan("");
      if (!(bias >= -100 && bias <= 100)) wrong_field(name, value, "a number from -100 to 100");
      options.logit_bias[static_cast<int32_t>(std::stol(key))] =
          bias == -100 ? -std::numeric_limits<float>::infinity() : static_cast<float>(bias);
    }
  }
  try {
    check(options, service.tokenizer.vocab_size());
  } catch (const UsageError& error) {
    throw ApiError{.message = error.what(), .code = "invalid_value"};
  }
  return options;
}

std::shared_ptr<const Grammar> read_grammar(const Fields& fields) {
  const auto format = fields.object("response_format");
  if (!format) return nullptr;
  format->required("type");
  const auto type = format->choice("type", {"text", "json_object", "json_schema"});
  if (type == "text") return nullptr;
  if (type == "json_object") return Grammar::json_object();
  format->required("json_schema");
  const auto schema = format->object("json_schema");
  const RequestJson& wanted = schema->required("schema");
  try {
    return Grammar::json_schema(wanted);
  } catch (const Error& error) {
    throw ApiError{.message = schema->name_of("schema") + ": " + error.what(),
                   .code = "invalid_schema",
                   .param = "response_format"};
  }
}

std::vector<std::string> read_stops(const Fields& fields) {
  auto stops = fields.texts("stop", kMostStops);
  for (const std::string& stop : stops) {
    if (stop.empty() || stop.size() > kLongestStop_bytes) {
      wrong_field("stop", stop, "strings of 1 to " + std::to_string(kLongestStop_bytes) + " bytes");
    }
  }
  return stops;
}

// What both routes have in common; `prompts` x n requests.
void read_common(const Fields& fields, const Service& service, const std::vector<Prompt>& prompts,
                 std::optional<int64_t> max_tokens, CompletionCall& call) {
  fields.text("model");  // this server has one; the answer says which
  fields.text("user");
  call.stream = fields.flag("stream", false);
  if (const auto options = fields.object("stream_options")) {
    if (!call.stream) fields.wrong("stream_options", "none, since stream is not true");
    call.include_usage = options->flag("include_usage", false);
  }
  call.choices = fields.integer("n", 1, kMostChoices).value_or(1);
  GenerationRequest request;
  request.sampling = read_sampling(fields, service);
  request.grammar = read_grammar(fields);
  request.stop = read_stops(fields);
  request.max_tokens = max_tokens;
  request.logprobs = call.logprobs;
  request.score_prompt = call.echo && call.logprobs.has_value();
  request.ignore_end = fields.flag("ignore_eos", false);
  const uint64_t seed = request.sampling.seed;
  for (const Prompt& prompt : prompts) {
    request.prompt = prompt.tokens;
    for (int64_t i = 0; i < call.choices; ++i) {
      request.sampling.seed = seed + static_cast<uint64_t>(i);  // the first is what n = 1 gives
      call.requests.push_back(request);
    }
  }
  const size_t most = static_cast<size_t>(service.engine.options().queue + service.engine.options().slots);
  if (call.requests.size() > most) {
    throw ApiError{.message = std::to_string(call.requests.size()) + " answers at once (prompts times n); at most " +
                              std::to_string(most) + " are given",
                   .code = "invalid_value",
                   .param = "n"};
  }
}

// OpenAI's parts of a message: text alone is understood.
RequestJson read_content(const RequestJson& content, const std::string& name) {
  if (content.is_string() || content.is_null()) return content;
  if (!content.is_array()) wrong_field(name, content, "a string, or a list of text parts");
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const std::string where = name + "[" + std::to_string(i) + "]";
    const Fields part(content[i], where);
    const std::string type = part.required("type").is_string() ? part.required("type").get<std::string>() : "";
    if (type != "text") {
      throw ApiError{
          .message = where + ".type is " + shortened(part.required("type")) + "; this model takes text alone",
          .code = "unsupported",
          .param = where};
    }
    part.required("text");
    text += *part.text("text");
  }
  return text;
}

RequestJson read_messages(const Fields& fields) {
  const RequestJson& list = fields.required("messages");
  if (!list.is_array() || list.empty()) fields.wrong("messages", "a list of at least one message");
  RequestJson messages = list;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string where = "messages[" + std::to_string(i) + "]";
    RequestJson& message = messages[i];
    const Fields parts(list[i], where);
    parts.required("role");
    const auto role = parts.choice("role", {"system", "developer", "user", "assistant", "tool", "function"});
    const bool calls_tools = parts.find("tool_calls") != nullptr;
    if (!calls_tools) parts.required("content");
    if (message.contains("content")) message["content"] = read_content(message["content"], where + ".content");
    if (role == "developer") message["role"] = "system";  // templates know it by its older name
    if (!calls_tools) continue;
    const RequestJson& calls = *parts.find("tool_calls");
    if (!calls.is_array()) parts.wrong("tool_calls", "a list");
    for (size_t j = 0; j < calls.size(); ++j) {
      const Fields one(calls[j], where + ".tool_calls[" + std::to_string(j) + "]");
      if (const auto function = one.object("function")) function->required("name");
    }
  }
  return messages;
}

RequestJson read_tools(const Fields& fields) {
  const RequestJson* tools = fields.find("tools");
  if (tools == nullptr || (tools->is_array() && tools->empty())) return nullptr;
  if (!tools->is_array()) fields.wrong("tools", "a list");
  for (size_t i = 0; i < tools->size(); ++i) {
    const Fields tool((*tools)[i], "tools[" + std::to_string(i) + "]");
    const auto function = tool.object("function");
    if (!function) tool.required("function");
    function->required("name");
  }
  const RequestJson* choice = fields.find("tool_choice");
  if (choice != nullptr && *choice == "none") return nullptr;
  fields.refuse("tool_choice", {"auto"},
                "tools are shown to the model by its chat template, and it chooses; \"auto\" and \"none\" are known");
  return *tools;
}

}  // namespace

CompletionCall read_chat_call(const RequestJson& body, const Service& service) {
  const Fields fields(body, "");
  CompletionCall call;
  call.chat = true;
  fields.refuse("functions", {}, "use tools");
  fields.refuse("audio", {}, "this model takes and gives text alone");
  fields.refuse("modalities", {{"text"}}, "this model takes and gives text alone");
  if (fields.flag("logprobs", false)) {
    call.logprobs = static_cast<int>(fields.integer("top_logprobs", 0, kMostAlternatives).value_or(0));
  } else if (fields.find("top_logprobs") != nullptr) {
    fields.wrong("top_logprobs", "none, since logprobs is not true");
  }
  ChatTemplate::Input input;
  input.messages = read_messages(fields);
  if (RequestJson tools = read_tools(fields); !tools.is_null()) input.tools = std::move(tools);
  input.add_generation_prompt = fields.flag("add_generation_prompt", true);
  if (const auto extra = fields.object("chat_template_kwargs")) input.extra = *fields.find("chat_template_kwargs");
  if (const auto id = service.tokenizer.bos()) input.bos_token = service.tokenizer.token(*id);
  if (const auto id = service.tokenizer.eos()) input.eos_token = service.tokenizer.token(*id);
  std::string text;
  try {
    text = service.chat_template.render(input);
  } catch (const Error& error) {  // in the template's own words
    throw ApiError{.message = std::string("the model's chat template: ") + error.what(),
                   .code = "chat_template",
                   .param = "messages"};
  }
  std::vector<Prompt> prompts(1);
  prompts[0].tokens = service.tokens_of(text, service.chat_template.is_plain(), "messages");
  auto max_tokens = fields.integer("max_tokens", 1, kMany);
  if (const auto newer = fields.integer("max_completion_tokens", 1, kMany)) max_tokens = newer;
  read_common(fields, service, prompts, max_tokens, call);
  return call;
}

std::vector<Prompt> read_prompts(const Fields& fields, const char* key, const Service& service) {
  const RequestJson& value = fields.required(key);
  const std::string expected = "a text, a list of texts, a list of token ids, or a list of such lists";
  const auto most = static_cast<size_t>(service.engine.options().queue + service.engine.options().slots);
  const auto of_text = [&](const std::string& text) {
    return Prompt{service.tokens_of(text, true, fields.name_of(key)), text};
  };
  const auto of_ids = [&](const RequestJson& ids, const std::string& name) {
    Prompt prompt;
    if (static_cast<int64_t>(ids.size()) > service.engine.context()) {  // before n copies are made of them
      throw ApiError{.message = name + " has " + std::to_string(ids.size()) + " tokens; the context takes " +
                                std::to_string(service.engine.context()),
                     .code = "context_length_exceeded",
                     .param = name};
    }
    for (const RequestJson& id : ids) {
      const bool whole = id.is_number_integer() && !(id.is_number_unsigned() && id.get<uint64_t>() > INT32_MAX);
      const int64_t number = whole ? id.get<int64_t>() : -1;
      if (number < 0 || number >= service.tokenizer.vocab_size()) {
        wrong_field(name, id, "token ids, 0 to " + std::to_string(service.tokenizer.vocab_size() - 1));
      }
      prompt.tokens.push_back(static_cast<int32_t>(number));
    }
    return prompt;
  };
  if (value.is_string()) return {of_text(value.get<std::string>())};
  if (!value.is_array() || value.empty()) fields.wrong(key, expected);
  if (value[0].is_number()) return {of_ids(value, fields.name_of(key))};
  if (value.size() > most) {
    throw ApiError{.message = fields.name_of(key) + " has " + std::to_string(value.size()) + " entries; at most " +
                              std::to_string(most) + " are taken at once",
                   .code = "invalid_value",
                   .param = fields.name_of(key)};
  }
  std::vector<Prompt> prompts;
  for (const RequestJson& each : value) {
    const std::string name = fields.name_of(key) + "[" + std::to_string(prompts.size()) + "]";
    if (each.is_string() == value[0].is_string() && each.is_string()) {
      prompts.push_back(of_text(each.get<std::string>()));
    } else if (each.is_array() && value[0].is_array() && !each.empty()) {
      prompts.push_back(of_ids(each, name));
    } else {
      wrong_field(name, each, expected);
    }
  }
  return prompts;
}

CompletionCall read_completion_call(const RequestJson& body, const Service& service) {
  const Fields fields(body, "");
  CompletionCall call;
  fields.refuse("suffix", {""}, "this model writes on from a prompt and cannot fill in");
  fields.refuse("best_of", {1, body.contains("n") ? body["n"] : RequestJson(1)}, "ask for n answers and choose");
  if (const auto logprobs = fields.integer("logprobs", 0, kMostAlternatives))
    call.logprobs = static_cast<int>(*logprobs);
  call.echo = fields.flag("echo", false);
  const auto prompts = read_prompts(fields, "prompt", service);
  if (call.echo) {
    for (const Prompt& prompt : prompts) {
      call.prompt_texts.push_back(prompt.text ? *prompt.text : service.tokenizer.decode(prompt.tokens, false));
    }
  }
  read_common(fields, service, prompts, fields.integer("max_tokens", 0, kMany).value_or(kUsualTokens), call);
  return call;
}

}  // namespace pare
