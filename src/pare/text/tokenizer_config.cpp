// tokenizer_config.json and special_tokens_map.json: names of the special tokens, the chat template.

#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/text/json_part.h"
#include "pare/text/tokenizer_parts.h"

namespace pare {
namespace {

constexpr const char* kSpecialNames[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                         "cls_token", "sep_token", "mask_token"};

}  // namespace

TokenizerConfig read_tokenizer_config(std::string_view text, const std::string& where) {
  // These files are written by many hands; only what is read here has to be right.
  const nlohmann::json json = parse_json(text, where, {.depth = 64, .allow_duplicate_keys = true});
  if (!json.is_object()) throw InputError(where + ": expected an object");
  TokenizerConfig config;
  for (const char* name : kSpecialNames) {
    const auto found = json.find(name);
    if (found == json.end() || found->is_null()) continue;
    if (found->is_string()) {
      config.special[name] = found->get<std::string>();
    } else if (found->is_object() && found->contains("content")) {
      config.special[name] = JsonPart{*found, where + ": " + name}.text("content");
    } else {
      throw InputError(where + ": " + name + ": expected a text or an object with content");
    }
  }
  const auto chat = json.find("chat_template");
  if (chat != json.end() && chat->is_string()) config.chat_template = chat->get<std::string>();
  if (chat != json.end() && chat->is_array()) {
    for (const auto& item : *chat) {  // [{name, template}]: the one called default
      if (item.is_object() && item.value("name", nlohmann::json()) == "default" && item.contains("template") &&
          item["template"].is_string()) {
        config.chat_template = item["template"].get<std::string>();
      }
    }
  }
  for (auto [key, flag] : {std::pair{"add_bos_token", &config.add_bos}, std::pair{"add_eos_token", &config.add_eos}}) {
    const auto found = json.find(key);
    if (found != json.end() && found->is_boolean()) *flag = found->get<bool>();
  }
  return config;
}

std::string write_tokenizer_config(const TokenizerConfig& config) {
  nlohmann::ordered_json json;
  if (config.add_bos) json["add_bos_token"] = *config.add_bos;
  if (config.add_eos) json["add_eos_token"] = *config.add_eos;
  for (const auto& [name, content] : config.special) json[name] = content;
  json["clean_up_tokenization_spaces"] = false;
  if (config.longest_text) json["model_max_length"] = *config.longest_text;
  if (config.chat_template) json["chat_template"] = *config.chat_template;
  json["tokenizer_class"] = "PreTrainedTokenizerFast";
  return json.dump(2) + "\n";
}

std::string write_special_tokens_map(const TokenizerConfig& config) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [name, content] : config.special) json[name] = content;
  return json.dump(2) + "\n";
}

}  // namespace pare
