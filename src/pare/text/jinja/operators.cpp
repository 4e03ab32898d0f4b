#include "pare/text/jinja/operators.h"

#include <algorithm>
#include <cmath>

#include "pare/base/checked.h"
#include "pare/text/jinja/py_text.h"

namespace pare::jinja {
namespace {

const char* sign_of(Operator op) {
  switch (op) {
    case Operator::add:
      return "+";
    case Operator::subtract:
      return "-";
    case Operator::multiply:
      return "*";
    case Operator::divide:
      return "/";
    case Operator::floor_divide:
      return "//";
    case Operator::modulo:
      return "%";
    case Operator::power:
      return "**";
    default:
      return "?";
  }
}

[[noreturn]] void no_such(Context& context, Operator op, const Value& a, const Value& b) {
  if (a.is(Kind::undefined)) context.fail(a.what_is_undefined());
  if (b.is(Kind::undefined)) context.fail(b.what_is_undefined());
  context.fail(std::string(a.type_name()) + " " + sign_of(op) + " " + b.type_name() + " has no meaning");
}

Value whole_or_too_large(Context& context, std::optional<int64_t> value) {
  if (!value) context.unsupported("an integer of more than 64 bits");
  return Value::integer(*value);
}

std::optional<int64_t> whole_power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  for (; exponent > 0; exponent--) {  // ends early: 64 doublings do not fit
    const auto next = checked_mul(result, base);
    if (!next) return std::nullopt;
    result = *next;
  }
  return result;
}

Value whole_arithmetic(Context& context, Operator op, int64_t a, int64_t b) {
  switch (op) {
    case Operator::add:
      return whole_or_too_large(context, checked_add(a, b));
    case Operator::subtract: {
      int64_t result = 0;
      if (__builtin_sub_overflow(a, b, &result)) whole_or_too_large(context, std::nullopt);
      return Value::integer(result);
    }
    case Operator::multiply:
      return whole_or_too_large(context, checked_mul(a, b));
    case Operator::divide:
      if (b == 0) context.fail("division by zero");
      return Value::real(static_cast<double>(a) / static_cast<double>(b));
    case Operator::floor_divide:
    case Operator::modulo: {
      if (b == 0) context.fail("division by zero");
      if (b == -1)
        return op == Operator::modulo ? Value::integer(0) : whole_arithmetic(context, Operator::subtract, 0, a);
      const int64_t rest = a % b;  // Python's has the sign of b
      const bool adjust = rest != 0 && (rest < 0) != (b < 0);
      return Value::integer(op == Operator::modulo ? rest + (adjust ? b : 0) : a / b - (adjust ? 1 : 0));
    }
    case Operator::power:
      if (b < 0) {
        if (a == 0) context.fail("0 has no negative power");
        return Value::real(std::pow(static_cast<double>(a), static_cast<double>(b)));
      }
      return whole_or_too_large(context, whole_power(a, b));
    default:
      return {};
  }
}

Value real_arithmetic(Context& context, Operator op, double a, double b) {
  switch (op) {
    case Operator::add:
      return Value::real(a + b);
    case Operator::subtract:
      return Value::real(a - b);
    case Operator::multiply:
      return Value::real(a * b);
    case Operator::divide:
      if (b == 0) context.fail("division by zero");
      return Value::real(a / b);
    case Operator::floor_divide:
    case Operator::modulo: {
      if (b == 0) context.fail("division by zero");
      double rest = std::fmod(a, b);
      double quotient = (a - rest) / b;
      if (rest != 0 && (rest < 0) != (b < 0)) {
        rest += b;
        quotient -= 1;
      } else if (rest == 0) {
        rest = std::copysign(0.0, b);
      }
      if (op == Operator::modulo) return Value::real(rest);
      double floored = quotient == 0 ? std::copysign(0.0, a / b) : std::floor(quotient);
      if (quotient - floored > 0.5) floored += 1;
      return Value::real(floored);
    }
    case Operator::power: {
      const double result = std::pow(a, b);
      if ((a == 0 && b < 0) || (std::isinf(result) && std::isfinite(a) && std::isfinite(b))) {
        context.fail("the power is not a finite number");
      }
      if (std::isnan(result) && a < 0) context.unsupported("a complex number");
      return Value::real(result);
    }
    default:
      return {};
  }
}

Value repeated(Context& context, const Value& value, int64_t times) {
  if (times < 0) times = 0;
  const size_t size = value.is(Kind::text) ? value.text().size() : value.sequence().items.size() * sizeof(Value);
  const auto total = checked_mul(static_cast<uint64_t>(size), static_cast<uint64_t>(times));
  context.bytes(total.value_or(UINT64_MAX));
  if (size == 0) times = 0;
  if (value.is(Kind::text)) {
    std::string result;
    result.reserve(static_cast<size_t>(*total));
    for (int64_t i = 0; i < times; i++) result += value.text();
    return context.text(std::move(result));
  }
  std::vector<Value> items;
  for (int64_t i = 0; i < times; i++) {
    items.insert(items.end(), value.sequence().items.begin(), value.sequence().items.end());
  }
  return context.sequence(value.kind(), std::move(items));
}

[[noreturn]] void unsupported_safe(Context& context) {
  context.unsupported("a text that went through the filter safe is changed");
}

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '\'':
        result += "&#39;";
        break;
      case '"':
        result += "&#34;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

bool is_repeatable(const Value& value) {
  return value.is(Kind::text) || value.is(Kind::list) || value.is(Kind::tuple);
}

// The index as Python counts it, from the end when negative; nothing when out of range.
std::optional<size_t> position(int64_t index, size_t size) {
  const int64_t length = static_cast<int64_t>(size);
  if (index < 0) index += length;
  if (index < 0 || index >= length) return std::nullopt;
  return static_cast<size_t>(index);
}

std::optional<Value> loop_member(const Loop& loop, const std::string& name) {
  const size_t count = loop.items.size(), at = loop.index0;
  const auto whole = [](size_t value) { return Value::integer(static_cast<int64_t>(value)); };
  if (name == "index") return whole(at + 1);
  if (name == "index0") return whole(at);
  if (name == "revindex") return whole(count - at);
  if (name == "revindex0") return whole(count - at - 1);
  if (name == "first") return Value::boolean(at == 0);
  if (name == "last") return Value::boolean(at + 1 == count);
  if (name == "length") return whole(count);
  if (name == "depth") return Value::integer(1);  // only recursive loops go deeper
  if (name == "depth0") return Value::integer(0);
  if (name == "previtem") return at == 0 ? Value::undefined("there is no previous item") : loop.items[at - 1];
  if (name == "nextitem") return at + 1 == count ? Value::undefined("there is no next item") : loop.items[at + 1];
  return std::nullopt;
}

// What Python's getattr gives; nothing where it has no such attribute.
std::optional<Value> attribute(Context& context, const Value& value, const std::string& name) {
  if (value.is(Kind::name_space)) {
    const auto found = value.names().find(name);
    if (found != value.names().end()) return found->second;
    return std::nullopt;
  }
  if (value.is(Kind::loop)) {
    if (auto found = loop_member(value.loop(), name)) return found;
  }
  const MethodLookup found = find_method(value, name);
  if (value.is_safe() && found.method != nullptr) unsupported_safe(context);
  if (found.unknown) context.unsupported(std::string("the method ") + name + " of " + value.type_name());
  if (found.forbidden) {
    return Value::undefined(std::string(value.type_name()) + "." + name +
                            " would change the value, which templates are not allowed to");
  }
  if (found.method == nullptr) return std::nullopt;
  Callable callable;
  callable.name = name;
  callable.method = found.method;
  callable.self = value;
  context.bytes(sizeof(Callable));
  return context.bounded(Value::callable(std::make_shared<const Callable>(std::move(callable))));
}

// What Python's value[index] gives; nothing where it raises.
std::optional<Value> element(Context& context, const Value& value, const Value& index) {
  if (value.is(Kind::mapping)) {
    if (!is_hashable(index)) return std::nullopt;
    const Value* found = find(context, value.mapping(), index);
    if (found != nullptr) return *found;
    return std::nullopt;
  }
  if (!index.is_whole()) return std::nullopt;
  if (value.is(Kind::text)) {
    if (value.is_safe()) unsupported_safe(context);
    const std::string& text = value.text();
    context.step(text.size() / 256);
    const auto at = position(index.whole(), code_points(text));
    if (!at) return std::nullopt;
    const size_t begin = byte_of(text, *at);
    return context.text(text.substr(begin, utf8_length(static_cast<unsigned char>(text[begin]))));
  }
  if (value.is(Kind::list) || value.is(Kind::tuple) || value.is(Kind::range)) {
    const auto at = position(index.whole(), value.sequence().items.size());
    if (at) return value.sequence().items[*at];
  }
  return std::nullopt;
}

std::string shown_index(const Value& index) {
  if (index.is(Kind::text)) return "'" + index.text().substr(0, 80) + "'";
  if (index.is_whole()) return "item " + std::to_string(index.whole());
  return std::string("item of type ") + index.type_name();
}

Value missing(const Value& value, const std::string& what) {
  return Value::undefined(std::string("a ") + value.type_name() + " has no " + what);
}

}  // namespace

Value filtered(Context& context, std::string_view name, Method filter, const Value& value, const Arguments& arguments) {
  static constexpr std::string_view kHarmless[] = {"count", "d",       "default", "int",    "float",  "length",
                                                   "list",  "replace", "safe",    "string", "tojson", "wordcount"};
  if (value.is_safe() && std::find(std::begin(kHarmless), std::end(kHarmless), name) == std::end(kHarmless)) {
    unsupported_safe(context);
  }
  return filter(context, value, arguments);
}

Value arithmetic(Context& context, Operator op, const Value& a, const Value& b) {
  if ((a.is_safe() || b.is_safe()) && op == Operator::add && a.is(Kind::text) && b.is(Kind::text)) {
    const std::string left = a.is_safe() ? a.text() : escaped(a.text()),
                      right = b.is_safe() ? b.text() : escaped(b.text());
    context.bytes(left.size() + right.size());
    return context.text(left + right).as_safe();
  }
  if (a.is_safe() && !b.is(Kind::undefined)) unsupported_safe(context);
  if (op == Operator::modulo && a.is(Kind::text)) return context.text(format_percent(context, a.text(), b));
  if (a.is_number() && b.is_number()) {
    if (a.is_whole() && b.is_whole()) return whole_arithmetic(context, op, a.whole(), b.whole());
    return real_arithmetic(context, op, a.number(), b.number());
  }
  if (op == Operator::add && a.kind() == b.kind()) {
    if (a.is(Kind::text)) {
      context.bytes(a.text().size() + b.text().size());
      return context.text(a.text() + b.text());
    }
    if (a.is(Kind::list) || a.is(Kind::tuple)) {
      std::vector<Value> items = iterate(context, a);
      const std::vector<Value> more = iterate(context, b);
      items.insert(items.end(), more.begin(), more.end());
      return context.sequence(a.kind(), std::move(items));
    }
  }
  if (op == Operator::multiply && is_repeatable(a) && b.is_whole()) return repeated(context, a, b.whole());
  if (op == Operator::multiply && a.is_whole() && is_repeatable(b)) return repeated(context, b, a.whole());
  no_such(context, op, a, b);
}

Value signed_value(Context& context, Sign sign, const Value& value) {
  if (!value.is_number()) context.wants(sign == Sign::negate ? "-" : "+", "a number", value);
  if (value.is(Kind::real)) return Value::real(sign == Sign::negate ? -value.number() : value.number());
  if (sign == Sign::keep) return Value::integer(value.whole());
  return whole_arithmetic(context, Operator::subtract, 0, value.whole());
}

bool contains(Context& context, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::text:
      if (!item.is(Kind::text)) context.wants("'in' a text", "a text", item);
      context.step((container.text().size() + item.text().size()) / 256);
      return find_text(container.text(), item.text()) != std::string::npos;
    case Kind::mapping:
      if (!is_hashable(item)) context.wants("'in' a mapping", "a key", item);
      return find(context, container.mapping(), item) != nullptr;
    case Kind::undefined:
      return false;
    case Kind::list:
    case Kind::tuple:
    case Kind::range:
    case Kind::view: {
      const auto& items = container.sequence().items;
      return std::any_of(items.begin(), items.end(), [&](const Value& other) { return equal(context, other, item); });
    }
    case Kind::generator: {
      const std::vector<Value> items = iterate(context, container);
      return std::any_of(items.begin(), items.end(), [&](const Value& other) { return equal(context, other, item); });
    }
    default:
      context.wants("'in'", "a text, list or mapping on its right", container);
  }
}

bool compare(Context& context, Comparison op, const Value& a, const Value& b) {
  // NaN: a <= b is not the opposite of b < a
  const bool nan = (a.is(Kind::real) && std::isnan(a.number())) || (b.is(Kind::real) && std::isnan(b.number()));
  switch (op) {
    case Comparison::equal:
      return equal(context, a, b);
    case Comparison::not_equal:
      return !equal(context, a, b);
    case Comparison::less:
      return less(context, a, b);
    case Comparison::less_equal:
      return !less(context, b, a) && !nan;
    case Comparison::greater:
      return less(context, b, a);
    case Comparison::greater_equal:
      return !less(context, a, b) && !nan;
    case Comparison::in:
      return contains(context, b, a);
    case Comparison::not_in:
      return !contains(context, b, a);
  }
  return false;
}

Value member(Context& context, const Value& value, const std::string& name) {
  if (value.is(Kind::undefined)) context.fail(value.what_is_undefined());
  if (auto found = attribute(context, value, name)) return *found;
  if (value.is(Kind::mapping)) {
    if (const Value* found = find(context, value.mapping(), name)) return *found;
  }
  return missing(value, "'" + name + "'");
}

Value item(Context& context, const Value& value, const Value& index) {
  if (value.is(Kind::undefined)) context.fail(value.what_is_undefined());
  if (auto found = element(context, value, index)) return *found;
  if (index.is(Kind::text)) {
    if (auto found = attribute(context, value, index.text())) return *found;
  }
  return missing(value, shown_index(index));
}

Value slice(Context& context, const Value& value, const Value& begin, const Value& end, const Value& step) {
  for (const Value* bound : {&begin, &end, &step}) {
    if (!bound->is_whole() && !bound->is(Kind::none)) context.wants("[:]", "integers", *bound);
  }
  const bool text = value.is(Kind::text);
  if (value.is_safe()) unsupported_safe(context);
  if (!text && !value.is(Kind::list) && !value.is(Kind::tuple) && !value.is(Kind::range)) {
    context.wants("[:]", "a text or list", value);
  }
  const int64_t by = step.is(Kind::none) ? 1 : step.whole();
  if (by == 0) context.fail("[::0]: the step is zero");
  const int64_t size =
      text ? static_cast<int64_t>(code_points(value.text())) : static_cast<int64_t>(value.sequence().items.size());
  const auto clipped = [&](const Value& bound, int64_t otherwise) {
    if (bound.is(Kind::none)) return otherwise;
    const int64_t at = bound.whole() < 0 ? std::max(bound.whole(), -size - 1) + size : bound.whole();
    return by > 0 ? std::clamp(at, int64_t{0}, size) : std::clamp(at, int64_t{-1}, size - 1);
  };
  const int64_t from = clipped(begin, by > 0 ? 0 : size - 1), to = clipped(end, by > 0 ? size : -1);
  if (text && by == 1) {
    const std::string& all = value.text();
    context.step(all.size() / 256);
    const size_t first = byte_of(all, static_cast<size_t>(from));
    const size_t last = from < to ? byte_of(all, static_cast<size_t>(to)) : first;
    return context.text(all.substr(first, last - first));
  }
  if (value.is(Kind::range)) context.unsupported("a part of a range");
  const std::vector<Value> items = iterate(context, value);
  std::vector<Value> taken;
  // the distance to `to` may be less than a step that is near the end of the integers
  for (int64_t at = from; by > 0 ? at < to : at > to;) {
    taken.push_back(items[static_cast<size_t>(at)]);
    if (by > 0 ? by >= to - at : by <= to - at) break;
    at += by;
  }
  if (!text) return context.sequence(value.kind(), std::move(taken));
  std::string result;
  for (const Value& character : taken) result += character.text();
  return context.text(std::move(result));
}

}  // namespace pare::jinja
