#include "pare/pipeline/report_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace pare {
namespace {

constexpr std::array kRecipeOrder = {"method", "bits",    "group",       "symmetric", "sparsity", "scale_dtype",
                                     "format", "imatrix", "calibration", "files",     "samples",  "length",
                                     "seed",   "match",   "act_order",   "damp",      "block"};

size_t recipe_rank(const std::string& key) {
  return static_cast<size_t>(std::find(kRecipeOrder.begin(), kRecipeOrder.end(), key) - kRecipeOrder.begin());
}

// Digits in fixed notation where people read them so, with an exponent outside.
std::string shortest(double value) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return {buffer, end};
}

bool needs_quotes(const std::string& text) {
  if (text.empty() || text.front() == ' ' || text.back() == ' ') return true;
  if (text.find_first_of(":#{}[],&*?|<>=!%@`\"'\\\n\t") != std::string::npos || text.front() == '-') return true;
  return text == "true" || text == "false" || text == "null" ||
         text.find_first_not_of("0123456789.eE+-") == std::string::npos;
}

}  // namespace

Field Field::operator[](std::string_view key) const {
  if (value_ == nullptr || !value_->is_object()) return {};
  const auto found = value_->find(key);
  return found == value_->end() ? Field() : Field(*found);
}

Field::operator bool() const {
  return value_ != nullptr && !value_->is_null();
}

bool Field::is_null() const {
  return value_ != nullptr && value_->is_null();
}

bool Field::is_object() const {
  return value_ != nullptr && value_->is_object();
}

std::optional<double> Field::number() const {
  if (value_ == nullptr || !value_->is_number()) return std::nullopt;
  const double number = value_->get<double>();
  return std::isfinite(number) ? std::optional(number) : std::nullopt;
}

std::optional<bool> Field::flag() const {
  return value_ != nullptr && value_->is_boolean() ? std::optional(value_->get<bool>()) : std::nullopt;
}

std::string Field::text() const {
  return value_ != nullptr && value_->is_string() ? value_->get<std::string>() : std::string();
}

std::string Field::words() const {
  if (value_ == nullptr || value_->is_null()) return "null";
  if (value_->is_boolean()) return value_->get<bool>() ? "true" : "false";
  if (value_->is_number_float()) return shortest(value_->get<double>());
  if (value_->is_string()) {
    const std::string text = value_->get<std::string>();
    if (!needs_quotes(text)) return text;
  }
  return value_->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::vector<Field> Field::items() const {
  std::vector<Field> result;
  if (value_ != nullptr && value_->is_array()) {
    for (const auto& item : *value_) result.emplace_back(item);
  }
  return result;
}

std::vector<std::pair<std::string, Field>> Field::entries() const {
  std::vector<std::pair<std::string, Field>> result;
  if (value_ == nullptr || !value_->is_object()) return result;
  for (const auto& [key, value] : value_->items()) result.emplace_back(key, Field(value));
  std::stable_sort(result.begin(), result.end(),
                   [](const auto& a, const auto& b) { return recipe_rank(a.first) < recipe_rank(b.first); });
  return result;
}

std::string yaml_text(Field value, int indent) {
  const std::string margin(static_cast<size_t>(indent), ' ');
  std::string out;
  for (const auto& [key, item] : value.entries()) {
    const std::vector<Field> list = item.items();
    const bool nested = !item.entries().empty() ||
                        std::any_of(list.begin(), list.end(), [](const Field& one) { return one.is_object(); });
    if (!nested) {
      out += margin + key + ": " + item.words() + "\n";
    } else if (item.is_object()) {
      out += margin + key + ":\n" + yaml_text(item, indent + 2);
    } else {
      out += margin + key + ":\n";
      for (const Field& one : list) {
        std::string lines = one.is_object() ? yaml_text(one, indent + 4) : margin + "    " + one.words() + "\n";
        if (lines.size() > margin.size() + 2) lines[margin.size() + 2] = '-';
        out += lines;
      }
    }
  }
  return out;
}

std::string significant(double value, int digits) {
  if (!std::isfinite(value)) return "not finite";
  if (value == 0) return "0";
  char buffer[64];
  const double magnitude = std::fabs(value);
  if (magnitude < 1e-4 || magnitude >= 1e7) {
    std::snprintf(buffer, sizeof buffer, "%.*e", digits - 1, value);
    return buffer;
  }
  const int before_point = static_cast<int>(std::floor(std::log10(magnitude))) + 1;
  std::snprintf(buffer, sizeof buffer, "%.*f", std::max(0, digits - before_point), value);
  return buffer;
}

std::string percent(double fraction, int digits) {
  return significant(fraction * 100, digits) + "\u00a0%";
}

std::string signed_percent(double fraction, int digits) {
  if (fraction == 0) return "±0\u00a0%";
  return (fraction > 0 ? "+" : "\u2212") + percent(std::fabs(fraction), digits);
}

std::string count_words(double count) {
  if (count >= 1e9) return significant(count / 1e9, 3) + "\u00a0billion";
  if (count >= 1e6) return significant(count / 1e6, count < 1e8 ? 3 : 4) + "\u00a0million";
  return grouped_digits(count);
}

std::string grouped_digits(double count) {
  char buffer[400];
  std::snprintf(buffer, sizeof buffer, "%.0f", count);
  std::string digits = buffer, out;
  for (size_t i = 0; i < digits.size(); ++i) {
    const size_t left = digits.size() - i;
    if (i > 0 && left % 3 == 0 && digits[i - 1] != '-') out += "\u202f";
    out += digits[i];
  }
  return out;
}

std::string last_component(const std::string& path) {
  const size_t last = path.find_last_not_of('/');
  if (last == std::string::npos) return path;
  const size_t slash = path.rfind('/', last);
  return path.substr(slash == std::string::npos ? 0 : slash + 1,
                     last - (slash == std::string::npos ? 0 : slash + 1) + 1);
}

std::string text_name(const std::string& text) {
  constexpr std::string_view kApart = "kept apart from: ", kBetween = ", ";
  if (!text.starts_with(kApart)) return last_component(text);
  std::string rest = text.substr(kApart.size());
  if (rest.starts_with("written by the model")) return "text " + rest + ", kept apart from calibration";
  std::string names;
  for (size_t comma; (comma = rest.find(kBetween)) != std::string::npos; rest.erase(0, comma + kBetween.size())) {
    names += last_component(rest.substr(0, comma)) + std::string(kBetween);
  }
  return "text kept apart from " + names + last_component(rest);
}

std::string html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '\0':
        out += "\ufffd";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace pare
