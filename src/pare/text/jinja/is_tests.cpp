// What stands behind "is".

#include "pare/text/jinja/filters.h"
#include "pare/text/jinja/operators.h"
#include "pare/text/jinja/py_text.h"

namespace pare::jinja {
namespace {

template <bool (*holds)(const Value&)>
Value test_of(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "the test", arguments, {});
  return Value::boolean(holds(self));
}

bool is_defined(const Value& v) {
  return !v.is(Kind::undefined);
}
bool is_undefined(const Value& v) {
  return v.is(Kind::undefined);
}
bool is_none(const Value& v) {
  return v.is(Kind::none);
}
bool is_boolean(const Value& v) {
  return v.is(Kind::boolean);
}
bool is_true(const Value& v) {
  return v.is(Kind::boolean) && v.whole() != 0;
}
bool is_false(const Value& v) {
  return v.is(Kind::boolean) && v.whole() == 0;
}
bool is_integer(const Value& v) {
  return v.is(Kind::integer);
}
bool is_real(const Value& v) {
  return v.is(Kind::real);
}
bool is_number(const Value& v) {
  return v.is_number();
}
bool is_string(const Value& v) {
  return v.is(Kind::text);
}
bool is_mapping(const Value& v) {
  return v.is(Kind::mapping);
}
// Python asks for a length and for [..]: undefined has both.
bool is_sequence(const Value& v) {
  return v.is(Kind::undefined) || v.is(Kind::text) || v.is(Kind::mapping) || v.is(Kind::list) || v.is(Kind::tuple) ||
         v.is(Kind::range);
}
bool is_callable(const Value& v) {
  return v.is(Kind::callable) || v.is(Kind::undefined);
}

template <Comparison op>
Value compared(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "the test", arguments, {"other"}, 1);
  return Value::boolean(compare(context, op, self, *bound[0]));
}

Value same_as(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "sameas", arguments, {"other"}, 1);
  const Value& other = *bound[0];
  if (self.kind() != other.kind()) return Value::boolean(false);
  if (self.is(Kind::none) || self.is(Kind::boolean)) return Value::boolean(equal(context, self, other));
  if (self.is(Kind::text) || self.is_number()) context.unsupported("sameas of texts or numbers: use ==");
  return Value::boolean(self.identity() == other.identity());
}

// value % by == rest, for a text too, whose % is formatting
Value modulo(Context& context, const Value& self, const Value& by, int64_t rest) {
  return Value::boolean(equal(context, arithmetic(context, Operator::modulo, self, by), Value::integer(rest)));
}

Value even(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "even", arguments, {});
  return modulo(context, self, Value::integer(2), 0);
}
Value odd(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "odd", arguments, {});
  return modulo(context, self, Value::integer(2), 1);
}
Value divisible(Context& context, const Value& self, const Arguments& arguments) {
  const Bound bound(context, "divisibleby", arguments, {"num"}, 1);
  return modulo(context, self, *bound[0], 0);
}

Value lower_case(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "lower", arguments, {});
  return Value::boolean(is_lower(to_text(context, self)));
}
Value upper_case(Context& context, const Value& self, const Arguments& arguments) {
  const Bound none(context, "upper", arguments, {});
  return Value::boolean(is_upper(to_text(context, self)));
}

constexpr NamedMethod kTests[] = {{"!=", compared<Comparison::not_equal>},
                                  {"<", compared<Comparison::less>},
                                  {"<=", compared<Comparison::less_equal>},
                                  {"==", compared<Comparison::equal>},
                                  {">", compared<Comparison::greater>},
                                  {">=", compared<Comparison::greater_equal>},
                                  {"boolean", test_of<is_boolean>},
                                  {"callable", test_of<is_callable>},
                                  {"defined", test_of<is_defined>},
                                  {"divisibleby", divisible},
                                  {"eq", compared<Comparison::equal>},
                                  {"equalto", compared<Comparison::equal>},
                                  {"even", even},
                                  {"false", test_of<is_false>},
                                  {"float", test_of<is_real>},
                                  {"ge", compared<Comparison::greater_equal>},
                                  {"greaterthan", compared<Comparison::greater>},
                                  {"gt", compared<Comparison::greater>},
                                  {"in", compared<Comparison::in>},
                                  {"integer", test_of<is_integer>},
                                  {"iterable", test_of<is_iterable>},
                                  {"le", compared<Comparison::less_equal>},
                                  {"lessthan", compared<Comparison::less>},
                                  {"lower", lower_case},
                                  {"lt", compared<Comparison::less>},
                                  {"mapping", test_of<is_mapping>},
                                  {"ne", compared<Comparison::not_equal>},
                                  {"none", test_of<is_none>},
                                  {"number", test_of<is_number>},
                                  {"odd", odd},
                                  {"sameas", same_as},
                                  {"sequence", test_of<is_sequence>},
                                  {"string", test_of<is_string>},
                                  {"true", test_of<is_true>},
                                  {"undefined", test_of<is_undefined>},
                                  {"upper", upper_case}};

}  // namespace

Method find_test(std::string_view name) {
  for (const auto& [known, method] : kTests) {
    if (known == name) return method;
  }
  return nullptr;
}

}  // namespace pare::jinja
