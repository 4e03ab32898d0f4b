// A parsed template. Expr and Statement nest; each Expr knows how deep, and the parser bounds that, so that walking and
// freeing them cannot exhaust the stack.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "pare/text/jinja/callable.h"
#include "pare/text/jinja/value.h"

namespace pare::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<const Expr>;
struct Statement;
using Body = std::vector<Statement>;

struct CallArguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
};

struct Constant {
  Value value;
};
struct Name {
  std::string name;
};
struct Captured {};  // what the block under {% filter %} or {% set x | filter %} wrote
struct ListLiteral {
  Kind kind = Kind::list;  // or tuple
  std::vector<ExprPtr> items;
};
struct DictLiteral {
  std::vector<std::pair<ExprPtr, ExprPtr>> items;
};
struct Member {  // of.name
  ExprPtr of;
  std::string name;
};
struct Item {  // of[index]
  ExprPtr of, index;
};
struct Slice {  // of[begin:end:step]; each may be null
  ExprPtr of, begin, end, step;
};
struct Call {
  ExprPtr callee;
  CallArguments arguments;
};
struct Filter {
  ExprPtr of;
  std::string name;
  Method method = nullptr;
  CallArguments arguments;
};
struct Test {  // of is name(arguments)
  ExprPtr of;
  std::string name;
  Method method = nullptr;
  CallArguments arguments;
};
enum class Operator { add, subtract, multiply, divide, floor_divide, modulo, power, both, either };
struct Binary {
  Operator op;
  ExprPtr left, right;
};
enum class Sign { negate, keep, invert };  // -x +x not x
struct Unary {
  Sign sign;
  ExprPtr of;
};
struct Concatenation {  // a ~ b ~ c
  std::vector<ExprPtr> parts;
};
enum class Comparison { equal, not_equal, less, less_equal, greater, greater_equal, in, not_in };
struct Compare {  // a < b < c
  ExprPtr first;
  std::vector<std::pair<Comparison, ExprPtr>> rest;
};
struct Conditional {  // yes if test else no; `no` may be null
  ExprPtr test, yes, no;
};

struct Expr {
  int line = 0;
  int depth = 1;
  std::variant<Constant, Name, Captured, ListLiteral, DictLiteral, Member, Item, Slice, Call, Filter, Test, Binary,
               Unary, Concatenation, Compare, Conditional>
      what;
};

struct Target {  // of an assignment: a name, namespace.member, or several of these
  std::string name, member;
  std::vector<Target> several;
};

struct Text {
  std::string text;
};
struct Print {
  ExprPtr what;
};
struct Branch {
  ExprPtr test;  // null: else
  Body body;
};
struct If {
  std::vector<Branch> branches;
};
struct For {
  Target target;
  ExprPtr over, filter;  // filter may be null
  Body body, otherwise;
};
struct Set {
  Target target;
  ExprPtr value;
};
struct SetBlock {
  Target target;
  ExprPtr filtered;  // of Captured; null when there are no filters
  Body body;
};
struct MacroStatement {
  std::string name;
  std::vector<std::pair<std::string, ExprPtr>> parameters;  // with their defaults, which may be null
  Body body;
};
struct CallBlock {  // {% call f() %} body {% endcall %}: the body is f's `caller`
  std::unique_ptr<MacroStatement> caller;
  ExprPtr call;
};
struct FilterBlock {
  ExprPtr filtered;
  Body body;
};
struct With {
  std::vector<std::pair<Target, ExprPtr>> names;
  Body body;
};
struct Generation {  // {% generation %}: marks what the model wrote; names set inside stay inside
  Body body;
};
struct Break {};
struct Continue {};

struct Statement {
  int line = 0;
  std::variant<Text, Print, If, For, Set, SetBlock, std::unique_ptr<MacroStatement>, CallBlock, FilterBlock, With,
               Generation, Break, Continue>
      what;
};

}  // namespace pare::jinja
