// Things that a template calls: functions, methods of values, macros; and the arguments of a call.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pare/text/jinja/value.h"

namespace pare::jinja {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

using Function = Value (*)(Context&, const Arguments&);
using Method = Value (*)(Context&, const Value& self, const Arguments&);  // filters and tests have this shape too

struct MacroStatement;
struct Scope;

struct Callable {
  std::string name;
  Function function = nullptr;            // or
  Method method = nullptr;                // of `self`, or
  const MacroStatement* macro = nullptr;  // with the names of the scope that it was written in
  Value self;
  std::weak_ptr<Scope> scope;
};

// The arguments of a call by the names of the parameters: `bound[i]` is null where the caller gave none. Fails on an
// argument too many, one that is unknown or given twice, or one of the first `required` that is missing.
class Bound {
 public:
  Bound(Context& context, std::string_view name, const Arguments& arguments,
        std::initializer_list<const char*> parameters, size_t required = 0);

  const Value* operator[](size_t i) const { return values_[i]; }
  bool has(size_t i) const { return values_[i] != nullptr; }
  // Each with the type that is wanted, or `otherwise` when not given.
  int64_t whole(size_t i, int64_t otherwise) const;
  bool flag(size_t i, bool otherwise) const;  // any value's truth
  std::string_view text(size_t i, std::string_view otherwise) const;
  bool is_none(size_t i) const { return !has(i) || values_[i]->is(Kind::none); }

 private:
  Context& context_;
  std::string name_;
  std::vector<const char*> parameters_;
  std::vector<const Value*> values_;
};

// What templates know by name; null for a name that we do not have.
Method find_filter(std::string_view name);
Method find_test(std::string_view name);
Function find_function(std::string_view name);

// A member of a text, list or mapping that Python calls a method.
struct MethodLookup {
  Method method = nullptr;
  bool forbidden = false;  // changes the value, which the sandbox does not allow
  bool unknown = false;    // Python has it, we do not
};
MethodLookup find_method(const Value& self, std::string_view name);

}  // namespace pare::jinja
