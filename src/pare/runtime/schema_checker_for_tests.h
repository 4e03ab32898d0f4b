// Whether a value satisfies a schema, straight from the standard's words and as slowly; only what the tests use.
#pragma once

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>
#include <string>

namespace pare {

class SchemaChecker {
 public:
  explicit SchemaChecker(const nlohmann::ordered_json& root) : root_(root) {}
  bool satisfies(const nlohmann::ordered_json& value) const { return holds(root_, value); }

 private:
  using Json = nlohmann::ordered_json;

  static bool is(const Json& value, const std::string& type) {
    if (type == "integer") return value.is_number() && value.get<double>() == std::floor(value.get<double>());
    return type == (value.is_number() ? "number" : value.type_name());
  }
  static size_t characters(const std::string& text) {
    return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  }

  bool holds(const Json& schema, const Json& value) const {
    if (schema.is_boolean()) return schema.get<bool>();
    for (const auto& [key, own] : schema.items()) {
      if (!keyword_holds(schema, key, own, value)) return false;
    }
    return true;
  }

  int alternatives(const Json& list, const Json& value) const {
    int count = 0;
    for (const Json& one : list) count += holds(one, value);
    return count;
  }

  bool keyword_holds(const Json& schema, const std::string& key, const Json& own, const Json& value) const {
    if (key == "$ref") return holds(root_.at(Json::json_pointer(own.get<std::string>().substr(1))), value);
    if (key == "const") return value == own;
    if (key == "enum") return std::find(own.begin(), own.end(), value) != own.end();
    if (key == "anyOf") return alternatives(own, value) > 0;
    if (key == "oneOf") return alternatives(own, value) == 1;
    if (key == "allOf") return alternatives(own, value) == static_cast<int>(own.size());
    if (key == "type") {
      if (own.is_string()) return is(value, own);
      return std::any_of(own.begin(), own.end(), [&](const Json& type) { return is(value, type); });
    }
    if (value.is_number()) {
      const double number = value.get<double>();
      if (key == "minimum") return number >= own.get<double>();
      if (key == "maximum") return number <= own.get<double>();
      if (key == "exclusiveMinimum") return number > own.get<double>();
      if (key == "exclusiveMaximum") return number < own.get<double>();
    }
    if (value.is_string()) {
      if (key == "minLength") return characters(value) >= own.get<size_t>();
      if (key == "maxLength") return characters(value) <= own.get<size_t>();
    }
    if (value.is_array()) {
      if (key == "minItems") return value.size() >= own.get<size_t>();
      if (key == "maxItems") return value.size() <= own.get<size_t>();
      const size_t fixed = schema.contains("prefixItems") ? schema["prefixItems"].size() : 0;
      for (size_t i = 0; i < value.size(); i++) {
        if (key == "prefixItems" && i < fixed && !holds(own[i], value[i])) return false;
        if (key == "items" && i >= fixed && !holds(own, value[i])) return false;
      }
    }
    if (value.is_object()) {
      if (key == "required") {
        return std::all_of(own.begin(), own.end(), [&](const Json& name) { return value.contains(name); });
      }
      const Json none = Json::object(), &named = schema.contains("properties") ? schema["properties"] : none;
      for (const auto& [name, item] : value.items()) {
        if (key == "properties" && named.contains(name) && !holds(named[name], item)) return false;
        if (key == "additionalProperties" && !named.contains(name) && !holds(own, item)) return false;
      }
    }
    return true;
  }

  Json root_;
};

}  // namespace pare
