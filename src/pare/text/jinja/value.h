// A value of a running template, with the meaning that Python gives it.
//
// Values are immutable and shared, as the sandbox that transformers renders in has it; only a namespace changes, and
// the Context of the run owns those, so that no cycle of references can outlive it. depth() counts nested containers:
// it is bounded where a value is made, so that walking or freeing one cannot exhaust the stack.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pare::jinja {

class Context;
class Value;
struct Callable;
struct Loop;

enum class Kind {
  undefined,  // a name or member that is not there: empty text, false, but most use of it is an error
  none,
  boolean,
  integer,
  real,
  text,
  list,
  tuple,
  range,
  view,       // dict.items(), keys(), values()
  generator,  // what filters such as selectattr give: walked once, no length
  mapping,
  name_space,  // namespace(...)
  loop,
  callable,
};

struct Sequence;
struct Mapping;
using Namespace = std::map<std::string, Value, std::less<>>;

class Value {
 public:
  Value() = default;                                // undefined
  static Value undefined(const std::string& what);  // `what` explains it in messages: "'message' has no 'role'"
  static Value none() { return Value(Kind::none); }
  static Value boolean(bool value);
  static Value integer(int64_t value);
  static Value real(double value);
  // For the texts and containers of a run use Context's, which count what is made.
  static Value raw_text(std::string text);
  static Value raw_sequence(Kind kind, Sequence sequence);
  static Value raw_mapping(Mapping mapping);
  static Value name_space(std::shared_ptr<Namespace> names);
  static Value loop(std::shared_ptr<Loop> loop);
  static Value callable(std::shared_ptr<const Callable> callable);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_number() const { return kind_ == Kind::boolean || kind_ == Kind::integer || kind_ == Kind::real; }
  bool is_whole() const { return kind_ == Kind::boolean || kind_ == Kind::integer; }
  bool is_sequence() const { return kind_ >= Kind::list && kind_ <= Kind::generator; }
  int depth() const { return depth_; }
  const char* type_name() const;  // Python's: "str", "NoneType"

  int64_t whole() const { return integer_; }  // boolean (0, 1) and integer
  double number() const { return kind_ == Kind::real ? real_ : static_cast<double>(integer_); }
  const std::string& text() const { return *static_cast<const std::string*>(object_.get()); }
  const Sequence& sequence() const { return *static_cast<const Sequence*>(object_.get()); }
  const Mapping& mapping() const { return *static_cast<const Mapping*>(object_.get()); }
  Namespace& names() const { return *static_cast<Namespace*>(object_.get()); }
  const Loop& loop() const { return *static_cast<const Loop*>(object_.get()); }
  const Callable& callable() const { return *static_cast<const Callable*>(object_.get()); }
  std::string what_is_undefined() const;
  // What the filter safe makes (Markup): other texts are escaped for HTML when joined to it.
  bool is_safe() const { return safe_; }
  Value as_safe() const;
  const void* identity() const { return object_.get(); }
  std::vector<Value> take_all() const;  // generator: what nobody took yet

 private:
  explicit Value(Kind kind) : kind_(kind) {}

  Kind kind_ = Kind::undefined;
  bool safe_ = false;
  int depth_ = 0;
  union {
    int64_t integer_ = 0;
    double real_;
  };
  std::shared_ptr<void> object_;
};

struct Sequence {
  std::vector<Value> items;
  std::string shown;  // range and view: "range(0, 3", "dict_items"
  size_t taken = 0;   // generator: how many items are already gone
};
struct Mapping {
  std::vector<std::pair<Value, Value>> items;  // in the order of insertion, keys differ
};
// What `loop` is inside {% for %}.
struct Loop {
  std::vector<Value> items;
  size_t index0 = 0;
};

bool truth(Context& context, const Value& value);
bool equal(Context& context, const Value& a, const Value& b);
// a < b; fails where Python has no order between the two.
bool less(Context& context, const Value& a, const Value& b);
// str(value), as {{ value }} prints it, and repr(value), as it stands inside a printed list.
std::string to_text(Context& context, const Value& value);
std::string to_repr(Context& context, const Value& value);
std::string real_to_text(double value);
// What `for` walks over: items of a list, keys of a mapping, characters of a text, nothing for undefined.
std::vector<Value> iterate(Context& context, const Value& value);
bool is_iterable(const Value& value);
// len(value); nothing where Python has none.
std::optional<int64_t> length(const Value& value);
bool is_hashable(const Value& value);
// The value under this key; null when there is none.
const Value* find(Context& context, const Mapping& mapping, const Value& key);
const Value* find(Context& context, const Mapping& mapping, std::string_view key);

}  // namespace pare::jinja
