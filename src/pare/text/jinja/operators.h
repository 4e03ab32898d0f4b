// Operators, members and items of values, with Python's meaning.
#pragma once

#include "pare/text/jinja/ast.h"
#include "pare/text/jinja/context.h"

namespace pare::jinja {

Value arithmetic(Context& context, Operator op, const Value& a, const Value& b);  // all but and, or
Value signed_value(Context& context, Sign sign, const Value& value);              // all but not
bool compare(Context& context, Comparison op, const Value& a, const Value& b);
bool contains(Context& context, const Value& container, const Value& item);

// value | name(arguments)
Value filtered(Context& context, std::string_view name, Method filter, const Value& value, const Arguments& arguments);

// value.name and value[index]: undefined when there is none, an error when `value` itself is undefined.
Value member(Context& context, const Value& value, const std::string& name);
Value item(Context& context, const Value& value, const Value& index);
// Bounds and step: integers or none.
Value slice(Context& context, const Value& value, const Value& begin, const Value& end, const Value& step);

// text % values
std::string format_percent(Context& context, const std::string& format, const Value& values);
// text.format(...)
std::string format_braces(Context& context, const std::string& format, const Arguments& arguments);

}  // namespace pare::jinja
