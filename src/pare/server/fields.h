// The fields of a request, read by type and range. Every fault is an ApiError that names the field, what was found and
// what is expected. null counts as absent, as OpenAI has it; fields that nobody asks for are let be.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "pare/server/answer.h"

namespace pare {

using RequestJson = nlohmann::ordered_json;  // the order of keys in tools and schemas is shown to the model

class Fields {
 public:
  // `path` names the object in messages: "" for the body, "messages[2]" further in.
  Fields(const RequestJson& object, std::string path);

  const RequestJson* find(const char* key) const;  // none: absent or null
  const RequestJson& required(const char* key) const;
  std::optional<double> number(const char* key, double lowest, double highest) const;
  std::optional<int64_t> integer(const char* key, int64_t lowest, int64_t highest) const;
  bool flag(const char* key, bool otherwise) const;
  std::optional<std::string> text(const char* key) const;
  std::optional<std::string> choice(const char* key, const std::vector<std::string>& allowed) const;
  std::optional<Fields> object(const char* key) const;
  // A list of strings; a single string is a list of one.
  std::vector<std::string> texts(const char* key, size_t most) const;
  // What Pare has not: refused unless absent, or one of those that ask for nothing.
  void refuse(const char* key, const std::vector<RequestJson>& harmless, const std::string& why) const;

  std::string name_of(const char* key) const;
  [[noreturn]] void wrong(const char* key, const std::string& expected) const;

 private:
  const RequestJson& object_;
  std::string path_;
};

RequestJson parse_body(const HttpRequest& request);  // an object
std::string shortened(const RequestJson& value);     // for messages
[[noreturn]] void wrong_field(const std::string& name, const RequestJson& found, const std::string& expected);

}  // namespace pare
