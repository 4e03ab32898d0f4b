// "%s of %d" % (..) and "{} of {name}".format(..): the parts of Python's formatting that templates use.

#include <algorithm>
#include <cstdio>

#include "pare/text/jinja/operators.h"
#include "pare/text/jinja/py_text.h"

namespace pare::jinja {
namespace {

constexpr int kWidest = 1000;

struct Spec {
  bool left = false, sign = false, space = false, zero = false, other = false;
  int width = 0, precision = -1;
  char type = 's';
};

std::string padded(const Spec& spec, std::string text) {
  const size_t size = code_points(text), width = static_cast<size_t>(spec.width);
  if (size >= width) return text;
  const size_t missing = width - size;
  if (spec.left) return text + std::string(missing, ' ');
  if (!spec.zero || spec.type == 's' || spec.type == 'r') return std::string(missing, ' ') + text;
  const size_t digits = !text.empty() && (text[0] == '-' || text[0] == '+' || text[0] == ' ') ? 1 : 0;
  return text.insert(digits, missing, '0');
}

std::string with_sign(const Spec& spec, std::string digits, bool negative) {
  if (negative) return "-" + digits;
  return spec.sign ? "+" + digits : spec.space ? " " + digits : digits;
}

std::string one_value(Context& context, const Spec& spec, const Value& value) {
  if (spec.type == 's' || spec.type == 'r') {
    std::string text = spec.type == 's' ? to_text(context, value) : to_repr(context, value);
    if (spec.precision >= 0) text.resize(byte_of(text, static_cast<size_t>(spec.precision)));
    return padded(spec, std::move(text));
  }
  if (!value.is_number()) context.wants(std::string("%") + spec.type, "a number", value);
  if (spec.type == 'd' || spec.type == 'i' || spec.type == 'u' || spec.type == 'x' || spec.type == 'X' ||
      spec.type == 'o') {
    const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
    if (!value.is_whole() && !decimal) context.wants(std::string("%") + spec.type, "an integer", value);
    const double number = value.number();
    if (!value.is_whole() && !(number > -9e18 && number < 9e18)) context.unsupported("%d of a number that large");
    const int64_t whole = value.is_whole() ? value.whole() : static_cast<int64_t>(number);
    const uint64_t size = whole < 0 ? uint64_t{0} - static_cast<uint64_t>(whole) : static_cast<uint64_t>(whole);
    char digits[32];
    const char* format = decimal ? "%llu" : spec.type == 'x' ? "%llx" : spec.type == 'X' ? "%llX" : "%llo";
    std::snprintf(digits, sizeof digits, format, static_cast<unsigned long long>(size));
    std::string text = digits;
    if (spec.precision > static_cast<int>(text.size())) {
      text.insert(0, static_cast<size_t>(spec.precision) - text.size(), '0');
    }
    return padded(spec, with_sign(spec, text, whole < 0));
  }
  const std::string format = std::string("%.*") + spec.type;
  char digits[2048];  // the largest double has 309 digits before the point, and kWidest behind it
  std::snprintf(digits, sizeof digits, format.c_str(), spec.precision < 0 ? 6 : spec.precision, value.number());
  const bool negative = digits[0] == '-';
  return padded(spec, with_sign(spec, digits + (negative ? 1 : 0), negative));
}

// Reads "%-05.2f" behind its "%".
class PercentReader {
 public:
  PercentReader(Context& context, const std::string& format, size_t& pos)
      : context_(context), format_(format), pos_(pos) {}

  std::string key() {  // %(key)s
    if (peek() != '(') return "";
    const size_t close = format_.find(')', pos_);
    if (close == std::string::npos) context_.fail("%( without )");
    std::string key = format_.substr(pos_ + 1, close - pos_ - 1);
    pos_ = close + 1;
    return key;
  }

  Spec spec() {
    Spec spec;
    for (;; pos_++) {
      const char c = peek();
      if (c == '-')
        spec.left = true;
      else if (c == '+')
        spec.sign = true;
      else if (c == ' ')
        spec.space = true;
      else if (c == '0')
        spec.zero = true;
      else if (c == '#' || c == '*')
        context_.unsupported(std::string("'") + c + "' in the format of a %");
      else
        break;
    }
    spec.width = number();
    if (peek() == '.') {
      pos_++;
      spec.precision = number();
    }
    if (peek() == '*') context_.unsupported("'*' in the format of a %");
    spec.type = peek();
    if (std::string_view("sriduxXofFeEgG%").find(spec.type) == std::string_view::npos || spec.type == '\0') {
      context_.unsupported(std::string("the format %") + (spec.type == '\0' ? ' ' : spec.type));
    }
    pos_++;
    return spec;
  }

 private:
  char peek() const { return pos_ < format_.size() ? format_[pos_] : '\0'; }
  int number() {
    int value = 0;
    for (; peek() >= '0' && peek() <= '9'; pos_++) {
      value = value * 10 + (peek() - '0');
      if (value > kWidest) context_.unsupported("a format wider than " + std::to_string(kWidest));
    }
    return value;
  }

  Context& context_;
  const std::string& format_;
  size_t& pos_;
};

}  // namespace

std::string format_percent(Context& context, const std::string& format, const Value& values) {
  const bool tuple = values.is(Kind::tuple);
  const size_t count = tuple ? values.sequence().items.size() : 1;
  size_t used = 0;
  bool keys = false;
  std::string result;
  for (size_t pos = 0; pos < format.size();) {
    const size_t sign = std::min(format.find('%', pos), format.size());
    context.bytes(sign - pos);
    result.append(format, pos, sign - pos);
    if (sign == format.size()) break;
    pos = sign + 1;
    PercentReader reader(context, format, pos);
    const bool keyed = pos < format.size() && format[pos] == '(';
    const std::string key = reader.key();
    const Spec spec = reader.spec();
    if (spec.type == '%') {
      result += '%';
      continue;
    }
    Value value;
    if (keyed) {
      if (!values.is(Kind::mapping)) context.wants("%(" + key + ")", "a mapping", values);
      const Value* found = find(context, values.mapping(), key);
      if (found == nullptr) context.fail("%(" + key + "): there is no such key");
      value = *found;
      keys = true;
    } else {
      if (used >= count) context.fail("more % in a format than values for them");
      value = tuple ? values.sequence().items[used] : values;
      used++;
    }
    std::string part = one_value(context, spec, value);
    context.bytes(part.size());
    result += part;
  }
  // Python lets go unused what has [..] and is no tuple or text: undefined too
  const bool needed = tuple || values.is(Kind::text) || values.is_number() || values.is(Kind::none);
  if (used < count && !keys && needed) {
    context.fail("fewer % in a format than values for them");
  }
  return result;
}

std::string format_braces(Context& context, const std::string& format, const Arguments& arguments) {
  std::string result;
  size_t next = 0;
  for (size_t pos = 0; pos < format.size(); pos++) {
    const char c = format[pos];
    if (c != '{' && c != '}') {
      result += c;
      continue;
    }
    if (pos + 1 < format.size() && format[pos + 1] == c) {
      result += c;
      pos++;
      continue;
    }
    const size_t close = format.find('}', pos);
    if (c == '}' || close == std::string::npos) context.fail(std::string("a single ") + c + " in a format");
    std::string field = format.substr(pos + 1, close - pos - 1);
    pos = close;
    bool repr = false;
    if (field.ends_with("!r") || field.ends_with("!s")) {
      repr = field.ends_with("!r");
      field.resize(field.size() - 2);
    }
    if (field.find_first_of(":!.[{") != std::string::npos) {
      context.unsupported("{" + field.substr(0, 40) + "} in a format: only names and numbers are understood");
    }
    const Value* value = nullptr;
    if (field.empty()) field = std::to_string(next++);
    if (field.find_first_not_of("0123456789") == std::string::npos) {
      const size_t index = field.size() > 6 ? SIZE_MAX : static_cast<size_t>(std::stoul(field));
      if (index < arguments.positional.size()) value = &arguments.positional[index];
    } else {
      for (const auto& [name, named] : arguments.named) {
        if (name == field) value = &named;
      }
    }
    if (value == nullptr) context.fail("a format wants the value '" + field + "', which is not given");
    const std::string part = repr ? to_repr(context, *value) : to_text(context, *value);
    context.bytes(part.size());
    result += part;
  }
  return result;
}

}  // namespace pare::jinja
