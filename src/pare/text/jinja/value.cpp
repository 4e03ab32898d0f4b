#include "pare/text/jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "pare/base/error.h"
#include "pare/text/jinja/callable.h"
#include "pare/text/jinja/context.h"
#include "pare/text/jinja/py_text.h"

namespace pare::jinja {
namespace {

int deepest(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth;
}

bool same_items(Context& context, const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); i++) {
    if (!equal(context, a[i], b[i])) return false;
  }
  return true;
}

bool same_items(Context& context, const Mapping& a, const Mapping& b) {
  if (a.items.size() != b.items.size()) return false;
  for (const auto& [key, value] : a.items) {
    const Value* other = find(context, b, key);
    if (other == nullptr || !equal(context, value, *other)) return false;
  }
  return true;
}

void append_items(Context& context, std::string& result, const std::vector<Value>& items) {
  for (size_t i = 0; i < items.size(); i++) {
    if (i > 0) result += ", ";
    result += to_repr(context, items[i]);
  }
}

std::string sequence_to_repr(Context& context, const Value& value) {
  const Sequence& sequence = value.sequence();
  if (value.is(Kind::range)) return sequence.shown;
  const bool tuple = value.is(Kind::tuple);
  std::string result = value.is(Kind::view) ? sequence.shown + "([" : tuple ? "(" : "[";
  append_items(context, result, sequence.items);
  if (tuple && sequence.items.size() == 1) result += ',';
  result += value.is(Kind::view) ? "])" : tuple ? ")" : "]";
  return result;
}

}  // namespace

Value Value::undefined(const std::string& what) {
  Value value;
  value.object_ = std::make_shared<std::string>(what);
  return value;
}

std::string Value::what_is_undefined() const {
  return object_ ? text() : "a value is undefined";
}

Value Value::boolean(bool value) {
  Value result(Kind::boolean);
  result.integer_ = value ? 1 : 0;
  return result;
}

Value Value::integer(int64_t value) {
  Value result(Kind::integer);
  result.integer_ = value;
  return result;
}

Value Value::real(double value) {
  Value result(Kind::real);
  result.real_ = value;
  return result;
}

Value Value::raw_text(std::string text) {
  Value result(Kind::text);
  result.object_ = std::make_shared<std::string>(std::move(text));
  return result;
}

Value Value::raw_sequence(Kind kind, Sequence sequence) {
  Value result(kind);
  result.depth_ = 1 + deepest(sequence.items);
  result.object_ = std::make_shared<Sequence>(std::move(sequence));
  return result;
}

Value Value::raw_mapping(Mapping mapping) {
  Value result(Kind::mapping);
  for (const auto& [key, value] : mapping.items) result.depth_ = std::max({result.depth_, key.depth(), value.depth()});
  result.depth_++;
  result.object_ = std::make_shared<Mapping>(std::move(mapping));
  return result;
}

Value Value::name_space(std::shared_ptr<Namespace> names) {
  Value result(Kind::name_space);
  result.object_ = std::move(names);
  return result;
}

Value Value::loop(std::shared_ptr<Loop> loop) {
  Value result(Kind::loop);
  result.depth_ = 1 + deepest(loop->items);
  result.object_ = std::move(loop);
  return result;
}

Value Value::callable(std::shared_ptr<const Callable> callable) {
  Value result(Kind::callable);
  result.depth_ = 1 + callable->self.depth();
  result.object_ = std::const_pointer_cast<Callable>(callable);
  return result;
}

Value Value::as_safe() const {
  Value result = *this;
  result.safe_ = true;
  return result;
}

std::vector<Value> Value::take_all() const {
  auto& sequence = *static_cast<Sequence*>(object_.get());
  const auto from = sequence.items.begin() + static_cast<std::ptrdiff_t>(sequence.taken);
  std::vector<Value> rest(from, sequence.items.end());
  sequence.taken = sequence.items.size();
  return rest;
}

const char* Value::type_name() const {
  switch (kind_) {
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "None";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::text:
      return "str";
    case Kind::list:
      return "list";
    case Kind::tuple:
      return "tuple";
    case Kind::range:
      return "range";
    case Kind::view:
      return "a view of a dict";
    case Kind::generator:
      return "generator";
    case Kind::mapping:
      return "dict";
    case Kind::name_space:
      return "Namespace";
    case Kind::loop:
      return "loop";
    case Kind::callable:
      return "function";
  }
  return "?";
}

bool truth(Context& context, const Value& value) {
  context.step();
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
    case Kind::integer:
      return value.whole() != 0;
    case Kind::real:
      return value.number() != 0;
    case Kind::text:
      return !value.text().empty();
    case Kind::list:
    case Kind::tuple:
    case Kind::range:
    case Kind::view:
      return !value.sequence().items.empty();
    case Kind::mapping:
      return !value.mapping().items.empty();
    case Kind::generator:
    case Kind::name_space:
    case Kind::loop:
    case Kind::callable:
      return true;
  }
  return true;
}

bool equal(Context& context, const Value& a, const Value& b) {
  context.step();
  if (a.is_number() && b.is_number()) {
    if (a.is_whole() && b.is_whole()) return a.whole() == b.whole();
    return a.number() == b.number();
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::text:
      context.step(a.text().size() == b.text().size() ? a.text().size() / 256 : 0);
      return a.text() == b.text();
    case Kind::list:
    case Kind::tuple:
    case Kind::range:
      return a.identity() == b.identity() || same_items(context, a.sequence().items, b.sequence().items);
    case Kind::mapping:
      return a.identity() == b.identity() || same_items(context, a.mapping(), b.mapping());
    case Kind::view:
      context.unsupported("views of dicts compared: make lists of them with | list");
    case Kind::callable: {
      const Callable& x = a.callable();
      const Callable& y = b.callable();
      return a.identity() == b.identity() || (x.function == y.function && x.method == y.method && x.macro == y.macro &&
                                              x.self.identity() == y.self.identity());
    }
    default:
      return a.identity() == b.identity();
  }
}

bool less(Context& context, const Value& a, const Value& b) {
  context.step();
  if (a.is_number() && b.is_number()) {
    if (a.is_whole() && b.is_whole()) return a.whole() < b.whole();
    return a.number() < b.number();
  }
  if (a.is(Kind::text) && b.is(Kind::text)) {  // bytes of UTF-8 are in the order of code points
    context.step(std::min(a.text().size(), b.text().size()) / 256);
    return a.text() < b.text();
  }
  if (a.kind() == b.kind() && (a.is(Kind::list) || a.is(Kind::tuple))) {
    const auto& x = a.sequence().items;
    const auto& y = b.sequence().items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); i++) {
      if (!equal(context, x[i], y[i])) return less(context, x[i], y[i]);
    }
    return x.size() < y.size();
  }
  if (a.is(Kind::undefined)) context.fail(a.what_is_undefined());
  if (b.is(Kind::undefined)) context.fail(b.what_is_undefined());
  context.fail(std::string("no order between ") + a.type_name() + " and " + b.type_name());
}

// repr(float): the shortest digits that read back as the same value; an exponent from 1e16 up and below 1e-4.
std::string real_to_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string_view shortest(buffer, static_cast<size_t>(end - buffer));
  const size_t e = shortest.find('e');
  int exponent = 0;
  const char* digits = shortest.data() + e + 1;
  std::from_chars(*digits == '+' ? digits + 1 : digits, end, exponent);
  if (exponent < -4 || exponent >= 16) return std::string(shortest);
  const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr;
  std::string result(buffer, fixed);
  if (result.find('.') == std::string::npos) result += ".0";
  return result;
}

std::string to_text(Context& context, const Value& value) {
  if (value.is(Kind::undefined)) return "";
  if (value.is(Kind::text)) return value.text();
  return to_repr(context, value);
}

std::string to_repr(Context& context, const Value& value) {
  context.step();
  context.bytes(16);
  switch (value.kind()) {
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "None";
    case Kind::boolean:
      return value.whole() != 0 ? "True" : "False";
    case Kind::integer:
      return std::to_string(value.whole());
    case Kind::real:
      return real_to_text(value.number());
    case Kind::text:
      context.bytes(value.text().size());
      return value.is_safe() ? "Markup(" + repr_text(value.text()) + ")" : repr_text(value.text());
    case Kind::list:
    case Kind::tuple:
    case Kind::range:
    case Kind::view:
      return sequence_to_repr(context, value);
    case Kind::mapping: {
      std::string result = "{";
      for (const auto& [key, item] : value.mapping().items) {
        if (result.size() > 1) result += ", ";
        result += to_repr(context, key) + ": " + to_repr(context, item);
      }
      return result + "}";
    }
    case Kind::generator:
    case Kind::name_space:
    case Kind::loop:
    case Kind::callable:
      break;
  }
  context.unsupported(std::string("a ") + value.type_name() + " is printed");
}

bool is_iterable(const Value& value) {
  return value.is(Kind::undefined) || value.is(Kind::text) || value.is_sequence() || value.is(Kind::mapping) ||
         value.is(Kind::loop);
}

std::vector<Value> iterate(Context& context, const Value& value) {
  context.step();
  switch (value.kind()) {
    case Kind::undefined:
      return {};
    case Kind::text: {
      const std::string& text = value.text();
      context.bytes(text.size() * 128);
      std::vector<Value> characters;
      for (size_t pos = 0; pos < text.size();) {
        const size_t bytes = utf8_length(static_cast<unsigned char>(text[pos]));
        characters.push_back(Value::raw_text(text.substr(pos, bytes)));
        pos += bytes;
      }
      return characters;
    }
    case Kind::mapping: {
      const auto& items = value.mapping().items;
      context.bytes(items.size() * sizeof(Value));
      std::vector<Value> keys;
      for (const auto& [key, item] : items) keys.push_back(key);
      return keys;
    }
    case Kind::generator:
      context.bytes(value.sequence().items.size() * sizeof(Value));
      return value.take_all();
    case Kind::list:
    case Kind::tuple:
    case Kind::range:
    case Kind::view:
      context.bytes(value.sequence().items.size() * sizeof(Value));
      return value.sequence().items;
    case Kind::loop:
      context.unsupported("a walk over loop itself");
    default:
      context.fail(std::string(value.type_name()) + " cannot be walked over");
  }
}

std::optional<int64_t> length(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
      return 0;
    case Kind::text:
      return static_cast<int64_t>(code_points(value.text()));
    case Kind::list:
    case Kind::tuple:
    case Kind::range:
    case Kind::view:
      return static_cast<int64_t>(value.sequence().items.size());
    case Kind::mapping:
      return static_cast<int64_t>(value.mapping().items.size());
    case Kind::loop:
      return static_cast<int64_t>(value.loop().items.size());
    default:
      return std::nullopt;
  }
}

bool is_hashable(const Value& value) {
  if (value.is(Kind::list) || value.is(Kind::mapping) || value.is(Kind::view)) return false;
  if (!value.is(Kind::tuple)) return true;
  const auto& items = value.sequence().items;
  return std::all_of(items.begin(), items.end(), [](const Value& item) { return is_hashable(item); });
}

const Value* find(Context& context, const Mapping& mapping, const Value& key) {
  if (key.is(Kind::text)) return find(context, mapping, key.text());
  for (const auto& [name, value] : mapping.items) {
    if (equal(context, name, key)) return &value;
  }
  return nullptr;
}

const Value* find(Context& context, const Mapping& mapping, std::string_view key) {
  context.step(mapping.items.size() / 16);
  for (const auto& [name, value] : mapping.items) {
    if (name.is(Kind::text) && name.text() == key) return &value;
  }
  return nullptr;
}

}  // namespace pare::jinja
