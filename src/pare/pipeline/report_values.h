// Reading a report without trusting it: a key that is absent or of another type is simply not there. And how figures
// are written for people.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pare {

// A value somewhere in a report, or nothing. It points into the report.
class Field {
 public:
  Field() = default;
  explicit Field(const nlohmann::json& value) : value_(&value) {}

  Field operator[](std::string_view key) const;
  explicit operator bool() const;  // there, and not null
  bool is_null() const;            // there, and null: what a non-finite number becomes in JSON
  bool is_object() const;

  std::optional<double> number() const;
  std::optional<bool> flag() const;
  std::string text() const;          // empty unless a string
  std::string words() const;         // any scalar as it would stand in YAML
  std::vector<Field> items() const;  // of an array
  std::vector<std::pair<std::string, Field>> entries()
      const;  // of an object, in the order in which recipes are written

 private:
  const nlohmann::json* value_ = nullptr;
};

// Four lines of YAML that say the same; for reading, and close enough to the recipe file to be pasted back.
std::string yaml_text(Field value, int indent = 0);

std::string significant(double value, int digits);        // "15.2", "0.0041", "1.2e-07"
std::string percent(double fraction, int digits = 2);     // "4.1 %"
std::string signed_percent(double fraction, int digits);  // "+4.1 %", "−0.3 %"
std::string count_words(double count);                    // "134.5 million"
std::string grouped_digits(double count);                 // "1 234 567", with narrow spaces
std::string last_component(const std::string& path);      // "SmolLM2-135M" of "/models/SmolLM2-135M/"
// An evaluation text as a sentence names it: "b.txt" of "/a/b.txt", "text kept apart from b.txt (900 tokens)" of
// "kept apart from: /a/b.txt (900 tokens)".
std::string text_name(const std::string& text);
std::string html(std::string_view text);  // escaped for text and for attributes

}  // namespace pare
