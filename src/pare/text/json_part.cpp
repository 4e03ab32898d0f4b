#include "pare/text/json_part.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"

namespace pare {
namespace {

std::string shown(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 60) + "...";
  return text;
}

}  // namespace

std::string JsonPart::type() const {
  if (!json.is_object()) throw InputError(where + ": expected an object, found " + shown(json));
  return text("type");
}

void JsonPart::only_keys(std::initializer_list<const char*> known) const {
  for (const auto& entry : json.items()) {
    const std::string& key = entry.key();
    const bool found = std::any_of(known.begin(), known.end(), [&](const char* name) { return key == name; });
    if (!found && key != "type") {
      throw UnsupportedError(where + ": \"" + key + "\" is not known to Pare, so the tokens could be wrong");
    }
  }
}

void JsonPart::unknown_type(const std::string& known) const {
  throw UnsupportedError(where + ": type \"" + text("type") + "\" is not supported; supported: " + known);
}

bool JsonPart::flag(const char* key, std::optional<bool> otherwise) const {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) {
    if (otherwise) return *otherwise;
    throw InputError(where + ": \"" + key + "\" is missing; expected true or false");
  }
  if (!found->is_boolean())
    throw InputError(where + ": \"" + key + "\": expected true or false, found " + shown(*found));
  return found->get<bool>();
}

std::string JsonPart::text(const char* key) const {
  const auto found = json.find(key);
  if (found == json.end()) throw InputError(where + ": \"" + key + "\" is missing; expected a text");
  if (!found->is_string()) throw InputError(where + ": \"" + key + "\": expected a text, found " + shown(*found));
  return found->get<std::string>();
}

std::optional<std::string> JsonPart::text_or_null(const char* key) const {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return std::nullopt;
  return text(key);
}

size_t JsonPart::count(const char* key) const {
  const auto found = json.find(key);
  if (found == json.end()) throw InputError(where + ": \"" + key + "\" is missing; expected a number");
  return static_cast<size_t>(JsonPart{*found, where + ": " + key}.integer(std::numeric_limits<int32_t>::max()));
}

int64_t JsonPart::integer(int64_t most) const {
  const bool fits = json.is_number_unsigned()
                        ? json.get<uint64_t>() <= static_cast<uint64_t>(most)
                        : json.is_number_integer() && json.get<int64_t>() >= 0 && json.get<int64_t>() <= most;
  if (!fits) {
    throw InputError(where + ": expected an integer of 0 to " + std::to_string(most) + ", found " + shown(json));
  }
  return json.get<int64_t>();
}

JsonPart JsonPart::part(const char* key) const {
  if (!json.is_object()) throw InputError(where + ": expected an object, found " + shown(json));
  const auto found = json.find(key);
  if (found == json.end()) throw InputError(where + ": \"" + key + "\" is missing");
  return {*found, where + ": " + key};
}

JsonPart JsonPart::item(size_t index) const {
  return {json.at(index), where + "[" + std::to_string(index) + "]"};
}

size_t JsonPart::items(const char* what) const {
  if (!json.is_array()) throw InputError(where + ": expected " + what + ", found " + shown(json));
  return json.size();
}

JsonPattern read_pattern(const JsonPart& part) {
  const auto& json = part.json;
  if (json.is_object() && json.size() == 1 && (json.contains("String") || json.contains("Regex"))) {
    const bool regex = json.contains("Regex");
    JsonPattern pattern{part.text(regex ? "Regex" : "String"), regex};
    if (pattern.text.empty()) throw UnsupportedError(part.where + ": an empty pattern");
    return pattern;
  }
  throw InputError(part.where + ": expected {\"String\": ...} or {\"Regex\": ...}, found " + shown(json));
}

}  // namespace pare
