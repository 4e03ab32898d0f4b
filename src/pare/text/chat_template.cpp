#include "pare/text/chat_template.h"

#include <ctime>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/text/jinja/interpreter.h"
#include "pare/text/jinja/json_text.h"
#include "pare/text/jinja/parser.h"
#include "pare/text/tokenizer.h"

namespace pare {
namespace {

constexpr const char* kPlain =
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ message.role }}: "
    "{% if message.content is string %}{{ message.content }}"
    "{% elif message.content is iterable %}"
    "{% for part in message.content %}{{ part.text }}{% endfor %}"
    "{% endif %}\n\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}";

}  // namespace

struct ChatTemplate::Impl {
  std::string where;
  jinja::Body body;
  bool plain = false;
};

ChatTemplate::Json::Json(const nlohmann::json& json) : json_(std::make_shared<const nlohmann::ordered_json>(json)) {}
ChatTemplate::Json::Json(const nlohmann::ordered_json& json)
    : json_(std::make_shared<const nlohmann::ordered_json>(json)) {}

ChatTemplate ChatTemplate::parse(std::string_view source, const std::string& where) {
  auto impl = std::make_shared<Impl>();
  impl->where = where;
  impl->body = jinja::parse(source, where);
  ChatTemplate result;
  result.impl_ = std::move(impl);
  return result;
}

ChatTemplate ChatTemplate::plain() {
  auto impl = std::make_shared<Impl>();
  impl->where = "the plain chat template";
  impl->body = jinja::parse(kPlain, impl->where);
  impl->plain = true;
  ChatTemplate result;
  result.impl_ = std::move(impl);
  return result;
}

ChatTemplate ChatTemplate::of(const Tokenizer& tokenizer, std::string* warning) {
  const char* instead = "Messages are written as \"role: content\", which is not what the model was trained on.";
  const auto warn = [&](const std::string& why) {
    if (warning != nullptr) *warning = why + " " + instead;
  };
  const auto source = tokenizer.chat_template();
  if (!source) {
    warn("The model has no chat template.");
    return plain();
  }
  try {
    return parse(*source, "the model's chat template");
  } catch (const UnsupportedError& error) {
    warn(std::string(error.what()) + ".");
    return plain();
  }
}

bool ChatTemplate::is_plain() const {
  return impl_->plain;
}

std::string ChatTemplate::render(const Input& input) const {
  jinja::Context context(impl_->where, {});
  context.now = input.now != 0 ? static_cast<std::time_t>(input.now) : std::time(nullptr);
  std::vector<std::pair<std::string, jinja::Value>> names;
  const auto give = [&](const char* name, const Json& json) {
    names.emplace_back(name, json.get() == nullptr ? jinja::Value::none() : jinja::from_json(context, *json.get()));
  };
  give("messages", input.messages);
  give("tools", input.tools);
  names.emplace_back("documents", jinja::Value::none());
  names.emplace_back("add_generation_prompt", jinja::Value::boolean(input.add_generation_prompt));
  // transformers passes on only the tokens that a tokenizer has
  if (!input.bos_token.empty()) give("bos_token", nlohmann::ordered_json(input.bos_token));
  if (!input.eos_token.empty()) give("eos_token", nlohmann::ordered_json(input.eos_token));
  if (input.extra.get() != nullptr && !input.extra.get()->is_null()) {
    if (!input.extra.get()->is_object()) {
      throw UsageError(impl_->where + ": the further names are no object, found " + input.extra.get()->type_name());
    }
    for (const auto& [name, value] : input.extra.get()->items()) {
      names.emplace_back(name, jinja::from_json(context, value));
    }
  }
  return jinja::run(context, impl_->body, std::move(names));
}

}  // namespace pare
