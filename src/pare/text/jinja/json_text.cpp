#include "pare/text/jinja/json_text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "pare/text/jinja/py_text.h"

namespace pare::jinja {
namespace {

constexpr int kDeepestJson = 80;  // of JSON; base/json.h stops at 64

Value convert(Context& context, const nlohmann::ordered_json& json, int depth) {
  if (depth > kDeepestJson) context.refuse("they are nested more than " + std::to_string(kDeepestJson) + " deep");
  context.allow_input(1, 64);
  switch (json.type()) {
    case nlohmann::json::value_t::boolean:
      return Value::boolean(json.get<bool>());
    case nlohmann::json::value_t::number_integer:
      return Value::integer(json.get<int64_t>());
    case nlohmann::json::value_t::number_unsigned: {
      const uint64_t value = json.get<uint64_t>();
      if (value > static_cast<uint64_t>(INT64_MAX)) context.refuse("the integer " + json.dump() + " has over 64 bits");
      return Value::integer(static_cast<int64_t>(value));
    }
    case nlohmann::json::value_t::number_float:
      return Value::real(json.get<double>());
    case nlohmann::json::value_t::string: {
      const auto& text = json.get_ref<const std::string&>();
      context.allow_input(0, text.size());
      return Value::raw_text(replace_invalid_utf8(text));
    }
    case nlohmann::json::value_t::array: {
      Sequence list;
      list.items.reserve(json.size());
      for (const auto& item : json) list.items.push_back(convert(context, item, depth + 1));
      return Value::raw_sequence(Kind::list, std::move(list));
    }
    case nlohmann::json::value_t::object: {
      Mapping mapping;
      mapping.items.reserve(json.size());
      for (const auto& [key, item] : json.items()) {
        context.allow_input(0, key.size() + 64);
        mapping.items.emplace_back(Value::raw_text(replace_invalid_utf8(key)), convert(context, item, depth + 1));
      }
      return Value::raw_mapping(std::move(mapping));
    }
    default:
      return Value::none();
  }
}

std::string quoted(std::string_view text, bool ascii) {
  std::string result = "\"";
  const auto unit = [&](uint32_t code) {
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(code & 0xFFFF));
    result += escaped;
  };
  for (size_t pos = 0; pos < text.size();) {
    const size_t start = pos;
    const char32_t code = next_code_point(text, pos);
    switch (code) {
      case '"':
        result += "\\\"";
        break;
      case '\\':
        result += "\\\\";
        break;
      case '\n':
        result += "\\n";
        break;
      case '\r':
        result += "\\r";
        break;
      case '\t':
        result += "\\t";
        break;
      case '\f':
        result += "\\f";
        break;
      case '\b':
        result += "\\b";
        break;
      default:
        if (code < 0x20 || (ascii && code > 0x7E && code < 0x10000)) {
          unit(code);
        } else if (ascii && code >= 0x10000) {
          unit(0xD800 + ((code - 0x10000) >> 10));
          unit(0xDC00 + ((code - 0x10000) & 0x3FF));
        } else {
          result += text.substr(start, pos - start);
        }
    }
  }
  return result + '"';
}

class Writer {
 public:
  Writer(Context& context, const JsonStyle& style) : context_(context), style_(style) {}

  void write(const Value& value, size_t level) {
    context_.step();
    switch (value.kind()) {
      case Kind::none:
        put("null");
        return;
      case Kind::boolean:
        put(value.whole() != 0 ? "true" : "false");
        return;
      case Kind::integer:
        put(std::to_string(value.whole()));
        return;
      case Kind::real:
        put(real(value.number()));
        return;
      case Kind::text:
        context_.bytes(value.text().size());
        put(quoted(value.text(), style_.ascii));
        return;
      case Kind::list:
      case Kind::tuple:
        list(value.sequence().items, level);
        return;
      case Kind::mapping:
        mapping(value.mapping(), level);
        return;
      default:
        context_.wants("tojson", "texts, numbers, lists and mappings", value);
    }
  }
  std::string result;

 private:
  void put(std::string_view text) {
    context_.bytes(text.size());
    result += text;
  }
  static std::string real(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return real_to_text(value);
  }
  void new_line(size_t level) {
    if (!style_.lines) return;
    context_.bytes(1 + level * style_.indent.size());
    result += '\n';
    for (size_t i = 0; i < level; i++) result += style_.indent;
  }
  void list(const std::vector<Value>& items, size_t level) {
    put("[");
    for (size_t i = 0; i < items.size(); i++) {
      if (i > 0) put(style_.item_separator);
      new_line(level + 1);
      write(items[i], level + 1);
    }
    if (!items.empty()) new_line(level);
    put("]");
  }
  std::string key_text(const Value& key) {
    if (key.is(Kind::text)) return key.text();
    if (key.is(Kind::none)) return "null";
    if (key.is(Kind::boolean)) return key.whole() != 0 ? "true" : "false";
    if (key.is(Kind::real)) return real(key.number());
    if (!key.is(Kind::integer)) context_.wants("tojson", "texts for keys", key);
    return std::to_string(key.whole());
  }
  void mapping(const Mapping& mapping, size_t level) {
    std::vector<const std::pair<Value, Value>*> members;
    for (const auto& member : mapping.items) members.push_back(&member);
    if (style_.sort_keys) {
      std::stable_sort(members.begin(), members.end(),
                       [&](const auto* a, const auto* b) { return less(context_, a->first, b->first); });
    }
    put("{");
    bool first = true;
    for (const auto* member : members) {
      if (!std::exchange(first, false)) put(style_.item_separator);
      new_line(level + 1);
      put(quoted(key_text(member->first), style_.ascii));
      put(style_.key_separator);
      write(member->second, level + 1);
    }
    if (!members.empty()) new_line(level);
    put("}");
  }

  Context& context_;
  const JsonStyle& style_;
};

}  // namespace

Value from_json(Context& context, const nlohmann::ordered_json& json) {
  return convert(context, json, 0);
}

std::string to_json(Context& context, const Value& value, const JsonStyle& style) {
  Writer writer(context, style);
  writer.write(value, 0);
  return std::move(writer.result);
}

}  // namespace pare::jinja
