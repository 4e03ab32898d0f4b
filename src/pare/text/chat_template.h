// A conversation to the text that a model was trained on, by the template that comes with the model.
//
// Templates are written in Jinja2, as transformers sets it up: trim_blocks and lstrip_blocks, break and continue,
// tojson, raise_exception, strftime_now, {% generation %}. Pare runs the part of it that published templates use
// (docs/chat-templates.md); what is beyond that is refused by name, never rendered differently. Oracle: PyPI jinja2.
// The text holds the special tokens itself: tokenize it with add_special_tokens false.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace pare {

class Tokenizer;

// Immutable, cheap to copy; may be used from several threads at once.
class ChatTemplate {
 public:
  // A value given to the template. Made from either kind of JSON; only an ordered one (parse_ordered_json) keeps the
  // order of keys, which `tojson` of a tool shows to the model.
  class Json {
   public:
    Json() = default;  // null
    Json(const nlohmann::json& json);
    Json(const nlohmann::ordered_json& json);
    const nlohmann::ordered_json* get() const { return json_.get(); }

   private:
    std::shared_ptr<const nlohmann::ordered_json> json_;
  };

  struct Input {
    Json messages;  // list of {"role", "content", ...}
    Json tools;     // list of {"type": "function", "function": {...}}, or null
    bool add_generation_prompt = true;
    std::string bos_token, eos_token;  // empty: the model has none
    Json extra;       // object: further names, for example {"enable_thinking": false}; they win over those above
    int64_t now = 0;  // seconds since 1970, for templates that write the date; 0: the clock
  };

  // `where` names the source in messages. UnsupportedError, with line and construct, for what is beyond us.
  static ChatTemplate parse(std::string_view source, const std::string& where);
  // For models that have none: "role: content\n" for each message, then "assistant:".
  static ChatTemplate plain();
  // The tokenizer's own, or plain() and why in `warning` (which is else left alone). Never throws for the template's
  // sake.
  static ChatTemplate of(const Tokenizer& tokenizer, std::string* warning);

  bool is_plain() const;

  // InputError when the template refuses the messages, in its own words, or fails on them as Python's Jinja would;
  // UnsupportedError for what shows only while running: a method or format that we do not have, a template that never
  // ends.
  std::string render(const Input& input) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace pare
