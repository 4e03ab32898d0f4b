#include "pare/weights/config_fields.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"

namespace pare {

using nlohmann::json;

std::string shown(const json& value) {
  std::string text = value.dump();
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

ConfigFields::ConfigFields(const json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object.is_object()) throw InputError(where_ + ": found " + shown(object) + ", expected a JSON object");
}

const json* ConfigFields::find(const char* key) const {
  const auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool ConfigFields::is_null(const char* key) const {
  return object_.contains(key) && object_.find(key)->is_null();
}

int64_t ConfigFields::integer(const char* key, std::optional<int64_t> fallback, int64_t low, int64_t high) const {
  const json* value = find(key);
  if (value == nullptr) {
    if (!fallback) throw InputError(where_ + ": " + key + " is missing");
    return *fallback;
  }
  // some writers put 4096.0 where 4096 is meant
  const bool whole =
      value->is_number_integer() || (value->is_number_float() && std::abs(value->get<double>()) < 0x1p53 &&
                                     std::trunc(value->get<double>()) == value->get<double>());
  const bool fits = whole &&
                    !(value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) &&
                    value->get<int64_t>() >= low && value->get<int64_t>() <= high;
  if (!fits) {
    throw InputError(where_ + ": " + key + " is " + shown(*value) + ", expected an integer from " +
                     std::to_string(low) + " to " + std::to_string(high));
  }
  return value->get<int64_t>();
}

double ConfigFields::positive(const char* key, std::optional<double> fallback) const {
  const json* value = find(key);
  if (value == nullptr) {
    if (!fallback) throw InputError(where_ + ": " + key + " is missing");
    return *fallback;
  }
  if (!value->is_number() || !std::isfinite(value->get<double>()) || value->get<double>() <= 0) {
    throw InputError(where_ + ": " + key + " is " + shown(*value) + ", expected a positive number");
  }
  return value->get<double>();
}

bool ConfigFields::flag(const char* key, bool fallback) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) throw InputError(where_ + ": " + key + " is " + shown(*value) + ", expected true or false");
  return value->get<bool>();
}

std::optional<std::string> ConfigFields::text(const char* key) const {
  const json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) throw InputError(where_ + ": " + key + " is " + shown(*value) + ", expected a string");
  return value->get<std::string>();
}

}  // namespace pare
