// Filters of texts, numbers and single values.

#include <algorithm>
#include <charconv>
#include <cmath>

#include "pare/text/jinja/filters.h"
#include "pare/text/jinja/json_text.h"
#include "pare/text/jinja/operators.h"
#include "pare/text/jinja/py_text.h"

namespace pare::jinja {
namespace {

template <std::string (*change)(std::string_view)>
Value filtered(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "the filter", arguments, {});
  const std::string text = to_text(context, self);
  context.bytes(2 * text.size());
  return context.text(change(text));
}

// Words begin behind white space and - ( { [ <, unlike those of str.title.
std::string title_of_words(std::string_view text) {
  std::string result, word;
  const auto end_word = [&] {
    size_t pos = 0;
    if (!word.empty()) next_code_point(word, pos);
    result += upper(std::string_view(word).substr(0, pos)) + lower(std::string_view(word).substr(pos));
    word.clear();
  };
  for (size_t pos = 0; pos < text.size();) {
    const size_t start = pos;
    const char32_t code = next_code_point(text, pos);
    const bool splits = is_space(code) || (code < 0x80 && std::string_view("-({[<").find(static_cast<char>(code)) !=
                                                              std::string_view::npos);
    if (splits) end_word();
    (splits ? result : word) += text.substr(start, pos - start);
  }
  end_word();
  return result;
}

Value trim(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "trim", arguments, {"chars"});
  const std::string text = to_text(context, self);
  context.bytes(text.size());
  if (bound.is_none(0)) return context.text(std::string(strip(text, std::nullopt, true, true)));
  context.step(text.size() / 64 * (bound.text(0, "").size() / 64 + 1));
  return context.text(std::string(strip(text, bound.text(0, ""), true, true)));
}

Value string(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "string", arguments, {});
  return self.is(Kind::text) ? self : context.text(to_text(context, self));
}

Value safe(Context& context, const Value& self, const Arguments& arguments) {
  return string(context, self, arguments).as_safe();
}

Value replace(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "replace", arguments, {"old", "new", "count"}, 2);
  const std::string text = to_text(context, self), old = to_text(context, *bound[0]),
                    with = to_text(context, *bound[1]);
  const int64_t most = bound.is_none(2) ? -1 : bound.whole(2, -1);
  context.bytes(text.size() + count_text(text, old) * with.size());
  return context.text(replace_text(text, old, with, most));
}

Value indent(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "indent", arguments, {"width", "first", "blank"});
  if (!self.is(Kind::text)) context.wants("indent", "a text", self);
  std::string by;
  if (bound.has(0) && bound[0]->is(Kind::text)) {
    by = bound[0]->text();
  } else {
    const int64_t width = std::max<int64_t>(bound.whole(0, 4), 0);
    context.bytes(static_cast<uint64_t>(width));
    by.assign(static_cast<size_t>(width), ' ');
  }
  const bool blank = bound.flag(2, false);
  const std::vector<std::string> lines = split_lines(self.text() + "\n", false);
  context.bytes(2 * self.text().size() + 64 * lines.size());
  std::string result = bound.flag(1, false) ? by : "";
  for (size_t i = 0; i < lines.size(); i++) {
    if (i > 0) result += '\n';
    if (i > 0 && (blank || !lines[i].empty())) {
      context.bytes(by.size());
      result += by;
    }
    result += lines[i];
  }
  return context.text(std::move(result));
}

Value percent_format(Context& context, const Value& self, const Arguments& arguments) {
  if (!arguments.named.empty() && !arguments.positional.empty()) context.fail("format wants either names or not");
  Value values = context.sequence(Kind::tuple, arguments.positional);
  if (!arguments.named.empty()) {
    Mapping mapping;
    for (const auto& [name, value] : arguments.named) mapping.items.emplace_back(context.text(name), value);
    values = context.mapping(std::move(mapping));
  }
  return context.text(format_percent(context, to_text(context, self), values));
}

Value default_value(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "default", arguments, {"default_value", "boolean"});
  const bool missing = self.is(Kind::undefined) || (bound.flag(1, false) && !truth(context, self));
  if (!missing) return self;
  return bound.has(0) ? *bound[0] : context.text("");
}

Value length_of(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "length", arguments, {});
  if (self.is(Kind::text)) context.step(self.text().size() / 256);
  const auto size = length(self);
  if (!size) context.wants("length", "a text, list or mapping", self);
  return Value::integer(*size);
}

// float(text): a decimal number, or nothing.
std::optional<double> read_real(std::string_view text) {
  text = strip(text, std::nullopt, true, true);
  if (!text.empty() && text[0] == '+') text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<int64_t> read_whole(Context& context, std::string_view text, int64_t base) {
  text = strip(text, std::nullopt, true, true);
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) text.remove_prefix(1);
  const auto prefixed = [&](char letter) { return text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == letter; };
  if ((base == 16 && prefixed('x')) || (base == 8 && prefixed('o')) || (base == 2 && prefixed('b'))) {
    text.remove_prefix(2);
  }
  if (text.empty() || text[0] == '-') return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, static_cast<int>(base));
  if (end != text.data() + text.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) context.unsupported("an integer of more than 64 bits");
  if (error != std::errc()) return std::nullopt;
  return negative ? -value : value;
}

Value whole_of(Context& context, double value, const Value& otherwise) {
  if (!std::isfinite(value)) return otherwise;
  if (!(value > -9.2e18 && value < 9.2e18)) context.unsupported("an integer of more than 64 bits");
  return Value::integer(static_cast<int64_t>(value));
}

Value to_whole(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "int", arguments, {"default", "base"});
  const Value otherwise = bound.has(0) ? *bound[0] : Value::integer(0);
  if (self.is(Kind::undefined)) context.fail(self.what_is_undefined());
  if (self.is_whole()) return Value::integer(self.whole());
  if (self.is(Kind::real)) return whole_of(context, self.number(), otherwise);
  if (!self.is(Kind::text)) return otherwise;
  const int64_t base = bound.whole(1, 10);
  if (base < 2 || base > 36) context.unsupported("int with the base " + std::to_string(base));
  if (const auto value = read_whole(context, self.text(), base)) return Value::integer(*value);
  if (const auto value = read_real(self.text())) return whole_of(context, *value, otherwise);
  return otherwise;
}

Value to_real(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "float", arguments, {"default"});
  if (self.is(Kind::undefined)) context.fail(self.what_is_undefined());
  if (self.is_number()) return Value::real(self.number());
  const auto value = self.is(Kind::text) ? read_real(self.text()) : std::nullopt;
  if (value) return Value::real(*value);
  return bound.has(0) ? *bound[0] : Value::real(0);
}

Value absolute(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "abs", arguments, {});
  if (!self.is_number()) context.wants("abs", "a number", self);
  if (self.is(Kind::real)) return Value::real(std::fabs(self.number()));
  return self.whole() < 0 ? signed_value(context, Sign::negate, self) : Value::integer(self.whole());
}

Value round_off(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "round", arguments, {"precision", "method"});
  if (!self.is_number()) context.wants("round", "a number", self);
  const int64_t digits = bound.whole(0, 0);
  const std::string_view method = bound.text(1, "common");
  if (method != "common" && method != "ceil" && method != "floor") context.fail("round: unknown method");
  if (digits < -15 || digits > 15) context.unsupported("round to " + std::to_string(digits) + " digits");
  if (method == "common") {
    if (self.is_whole()) {
      if (digits >= 0) return Value::integer(self.whole());
      context.unsupported("round of an integer to " + std::to_string(digits) + " digits");
    }
    // the decimal that is nearest to the exact value, as Python's round gives it
    if (digits >= 0 && std::isfinite(self.number())) {
      char decimal[400];
      const auto end = std::to_chars(decimal, decimal + sizeof decimal, self.number(), std::chars_format::fixed,
                                     static_cast<int>(digits))
                           .ptr;
      double value = 0;
      std::from_chars(decimal, end, value);
      return Value::real(value);
    }
    context.unsupported("round of such a number");
  }
  const double scale = std::pow(10.0, static_cast<double>(digits)), scaled = self.number() * scale;
  return Value::real((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

Value tojson(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii = bound.flag(0, false);
  style.sort_keys = bound.flag(3, false);
  if (!bound.is_none(1)) {
    style.lines = true;
    style.item_separator = ",";
    if (bound[1]->is(Kind::text)) {
      style.indent = bound[1]->text();
    } else {
      const int64_t width = std::max<int64_t>(bound.whole(1, 0), 0);
      context.bytes(static_cast<uint64_t>(width));
      style.indent.assign(static_cast<size_t>(width), ' ');
    }
  }
  if (!bound.is_none(2)) {
    const std::vector<Value> both = iterate(context, *bound[2]);
    if (both.size() != 2 || !both[0].is(Kind::text) || !both[1].is(Kind::text)) {
      context.fail("tojson: separators wants two texts");
    }
    style.item_separator = both[0].text();
    style.key_separator = both[1].text();
  }
  return context.text(to_json(context, self, style));
}

Value word_count(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "wordcount", arguments, {});
  const std::string text = to_text(context, self);
  int64_t words = 0;
  bool inside = false;
  for (size_t pos = 0; pos < text.size();) {
    const bool part = is_word(next_code_point(text, pos));
    words += part && !inside ? 1 : 0;
    inside = part;
  }
  return Value::integer(words);
}

constexpr NamedMethod kFilters[] = {{"abs", absolute},          {"capitalize", filtered<capitalize>},
                                    {"count", length_of},       {"d", default_value},
                                    {"default", default_value}, {"float", to_real},
                                    {"format", percent_format}, {"indent", indent},
                                    {"int", to_whole},          {"length", length_of},
                                    {"lower", filtered<lower>}, {"replace", replace},
                                    {"round", round_off},       {"safe", safe},
                                    {"string", string},         {"title", filtered<title_of_words>},
                                    {"tojson", tojson},         {"trim", trim},
                                    {"upper", filtered<upper>}, {"wordcount", word_count}};

}  // namespace

std::span<const NamedMethod> value_filters() {
  return kFilters;
}

Method find_filter(std::string_view name) {
  for (const auto table : {value_filters(), list_filters()}) {
    for (const auto& [known, method] : table) {
      if (known == name) return method;
    }
  }
  return nullptr;
}

}  // namespace pare::jinja
