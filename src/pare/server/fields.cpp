#include "pare/server/fields.h"

#include <algorithm>
#include <cmath>

#include "pare/base/error.h"
#include "pare/base/json.h"

namespace pare {
namespace {

constexpr size_t kShown_bytes = 60;
constexpr size_t kMostKeys = 1024;         // of one object: an ordered one takes keys^2
constexpr size_t kMostValues = 2'000'000;  // some 100 MB when parsed

}  // namespace

RequestJson parse_body(const HttpRequest& request) {
  if (request.body.empty())
    throw ApiError{.message = "the body is empty; expected a JSON object", .code = "invalid_json"};
  RequestJson body;
  try {
    body = parse_ordered_json(request.body, "the body",
                              {.allow_duplicate_keys = false, .keys = kMostKeys, .values = kMostValues});
  } catch (const InputError& error) {
    throw ApiError{.message = error.what(), .code = "invalid_json"};
  }
  if (!body.is_object()) {
    throw ApiError{.message = "the body is " + std::string(body.type_name()) + "; expected a JSON object",
                   .code = "invalid_json"};
  }
  return body;
}

std::string shortened(const RequestJson& value) {
  if (value.is_structured()) return value.is_array() ? "an array" : "an object";
  std::string text = value.dump(-1, ' ', false, RequestJson::error_handler_t::replace);
  if (text.size() > kShown_bytes) {
    size_t end = kShown_bytes;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
    text = text.substr(0, end) + "...";
  }
  return text;
}

void wrong_field(const std::string& name, const RequestJson& found, const std::string& expected) {
  throw ApiError{
      .message = name + " is " + shortened(found) + "; expected " + expected, .code = "invalid_value", .param = name};
}

Fields::Fields(const RequestJson& object, std::string path) : object_(object), path_(std::move(path)) {
  if (!object.is_object()) wrong_field(path_, object, "an object");
}

std::string Fields::name_of(const char* key) const {
  return path_.empty() ? key : path_ + "." + key;
}

void Fields::wrong(const char* key, const std::string& expected) const {
  wrong_field(name_of(key), object_.at(key), expected);
}

const RequestJson* Fields::find(const char* key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

const RequestJson& Fields::required(const char* key) const {
  if (const RequestJson* value = find(key)) return *value;
  throw ApiError{.message = name_of(key) + " is missing", .code = "missing_field", .param = name_of(key)};
}

std::optional<double> Fields::number(const char* key, double lowest, double highest) const {
  const RequestJson* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto shown = [](double bound) { return RequestJson(bound).dump(); };
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  if (!(number >= lowest && number <= highest)) wrong(key, "a number from " + shown(lowest) + " to " + shown(highest));
  return number;
}

std::optional<int64_t> Fields::integer(const char* key, int64_t lowest, int64_t highest) const {
  const RequestJson* value = find(key);
  if (value == nullptr) return std::nullopt;
  const std::string expected = highest == std::numeric_limits<int64_t>::max()
                                   ? "an integer, at least " + std::to_string(lowest)
                                   : "an integer from " + std::to_string(lowest) + " to " + std::to_string(highest);
  const bool too_large = value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  if (!value->is_number_integer() || too_large) wrong(key, expected);
  const auto number = value->get<int64_t>();
  if (number < lowest || number > highest) wrong(key, expected);
  return number;
}

bool Fields::flag(const char* key, bool otherwise) const {
  const RequestJson* value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) wrong(key, "true or false");
  return value->get<bool>();
}

std::optional<std::string> Fields::text(const char* key) const {
  const RequestJson* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) wrong(key, "a string");
  return value->get<std::string>();
}

std::optional<std::string> Fields::choice(const char* key, const std::vector<std::string>& allowed) const {
  auto value = text(key);
  if (value && std::ranges::find(allowed, *value) == allowed.end()) {
    std::string list;
    for (const std::string& each : allowed) list += (list.empty() ? "\"" : ", \"") + each + "\"";
    wrong(key, (allowed.size() > 1 ? "one of " : "") + list);
  }
  return value;
}

std::optional<Fields> Fields::object(const char* key) const {
  const RequestJson* value = find(key);
  if (value == nullptr) return std::nullopt;
  return Fields(*value, name_of(key));
}

std::vector<std::string> Fields::texts(const char* key, size_t most) const {
  const RequestJson* value = find(key);
  if (value == nullptr) return {};
  const std::string expected = "a string, or a list of at most " + std::to_string(most);
  if (value->is_string()) return {value->get<std::string>()};
  if (!value->is_array() || value->size() > most) wrong(key, expected);
  std::vector<std::string> texts;
  for (const RequestJson& each : *value) {
    if (!each.is_string()) wrong_field(name_of(key) + "[" + std::to_string(texts.size()) + "]", each, "a string");
    texts.push_back(each.get<std::string>());
  }
  return texts;
}

void Fields::refuse(const char* key, const std::vector<RequestJson>& harmless, const std::string& why) const {
  const RequestJson* value = find(key);
  if (value == nullptr || std::ranges::find(harmless, *value) != harmless.end()) return;
  throw ApiError{.message = name_of(key) + " is not supported: " + why, .code = "unsupported", .param = name_of(key)};
}

}  // namespace pare
