#include "pare/text/jinja/interpreter.h"

#include <algorithm>
#include <map>

#include "pare/text/jinja/operators.h"

namespace pare::jinja {

// Names of a block, and the block around it. As in Jinja: loops, macros and blocks that capture have names of their
// own, `if` has not.
struct Scope {
  std::shared_ptr<Scope> outer;
  std::map<std::string, Value, std::less<>> names;
};

namespace {

enum class Flow { on, leave_loop, next_round };

class Interpreter {
 public:
  explicit Interpreter(Context& context) : context_(context) {}

  std::string run(const Body& body, std::vector<std::pair<std::string, Value>> names) {
    for (auto& [name, value] : names) scope_->names.insert_or_assign(std::move(name), std::move(value));
    execute(body);
    return std::move(output_);
  }

 private:
  // --- names

  Value look_up(const std::string& name) {
    for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->outer.get()) {
      context_.step();
      const auto found = scope->names.find(name);
      if (found != scope->names.end()) return found->second;
    }
    if (const Function function = find_function(name)) {
      Callable callable;
      callable.name = name;
      callable.function = function;
      return Value::callable(std::make_shared<const Callable>(std::move(callable)));
    }
    if (name == "cycler" || name == "joiner" || name == "lipsum") context_.unsupported("the function " + name);
    return Value::undefined("'" + name + "' is undefined");
  }

  void assign(const Target& target, const Value& value) {
    if (!target.several.empty()) {
      if (!is_iterable(value)) context_.wants("an assignment to several names", "a list", value);
      const std::vector<Value> parts = iterate(context_, value);
      if (parts.size() != target.several.size()) {
        context_.fail(std::to_string(parts.size()) + " values for " + std::to_string(target.several.size()) + " names");
      }
      for (size_t i = 0; i < parts.size(); i++) assign(target.several[i], parts[i]);
    } else if (!target.member.empty()) {
      const Value owner = look_up(target.name);
      if (!owner.is(Kind::name_space))
        context_.fail("'" + target.name + "' is no namespace: its members cannot be set");
      context_.bytes(64);
      owner.names().insert_or_assign(target.member, value);
    } else {
      context_.bytes(64);
      scope_->names.insert_or_assign(target.name, value);
    }
  }

  // A scope inside of `outer` for as long as this lives.
  class Inside {
   public:
    Inside(Interpreter& owner, std::shared_ptr<Scope> outer) : owner_(owner), before_(owner.scope_) {
      owner.scope_ = std::make_shared<Scope>();
      owner.scope_->outer = std::move(outer);
    }
    ~Inside() { owner_.scope_ = std::move(before_); }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

   private:
    Interpreter& owner_;
    std::shared_ptr<Scope> before_;
  };

  // --- statements

  Flow execute(const Body& body) {
    const Context::Deeper deeper(context_);
    for (const Statement& statement : body) {
      context_.step();
      context_.line = statement.line;
      const Flow flow = std::visit([&](const auto& what) { return execute(what); }, statement.what);
      if (flow != Flow::on) return flow;
    }
    return Flow::on;
  }

  void write(std::string_view text) {
    context_.bytes(text.size());
    output_ += text;
  }

  Flow execute(const Text& text) {
    write(text.text);
    return Flow::on;
  }

  Flow execute(const Print& print) {
    const Value value = evaluate(print.what);
    if (value.is(Kind::text)) {
      write(value.text());
    } else {
      write(to_text(context_, value));
    }
    return Flow::on;
  }

  Flow execute(const If& statement) {
    for (const Branch& branch : statement.branches) {
      if (!branch.test || truth(context_, evaluate(branch.test))) return execute(branch.body);
    }
    return Flow::on;
  }

  Flow execute(const For& statement) {
    const Value over = evaluate(statement.over);
    if (!is_iterable(over)) context_.wants("{% for %}", "a list", over);
    std::vector<Value> items = iterate(context_, over);
    if (statement.filter) {
      std::vector<Value> kept;
      for (Value& value : items) {
        const Inside inside(*this, scope_);
        assign(statement.target, value);
        if (truth(context_, evaluate(statement.filter))) kept.push_back(std::move(value));
      }
      items = std::move(kept);
    }
    if (items.empty()) {
      const Inside inside(*this, scope_);
      return execute(statement.otherwise);
    }
    auto loop = std::make_shared<Loop>();
    loop->items = std::move(items);
    const Value shown = context_.bounded(Value::loop(loop));
    for (; loop->index0 < loop->items.size(); loop->index0++) {
      context_.step();
      const Inside inside(*this, scope_);
      scope_->names.insert_or_assign("loop", shown);
      assign(statement.target, loop->items[loop->index0]);
      if (execute(statement.body) == Flow::leave_loop) break;
    }
    return Flow::on;
  }

  Flow execute(const Set& set) {
    assign(set.target, evaluate(set.value));
    return Flow::on;
  }

  // What `body` writes, with names of its own.
  Value captured(const Body& body) {
    std::string before = std::exchange(output_, {});
    {
      const Inside inside(*this, scope_);
      execute(body);
    }
    return context_.text(std::exchange(output_, std::move(before)));
  }

  Value filtered(const ExprPtr& filters, Value text) {
    if (!filters) return text;
    std::swap(captured_, text);
    Value result = evaluate(filters);
    std::swap(captured_, text);
    return result;
  }

  Flow execute(const SetBlock& set) {
    assign(set.target, filtered(set.filtered, captured(set.body)));
    return Flow::on;
  }

  Flow execute(const FilterBlock& block) {
    write(to_text(context_, filtered(block.filtered, captured(block.body))));
    return Flow::on;
  }

  Value make_macro(const MacroStatement& macro) {
    Callable callable;
    callable.name = macro.name;
    callable.macro = &macro;
    callable.scope = scope_;
    return Value::callable(std::make_shared<const Callable>(std::move(callable)));
  }

  Flow execute(const std::unique_ptr<MacroStatement>& macro) {
    scope_->names.insert_or_assign(macro->name, make_macro(*macro));
    return Flow::on;
  }

  Flow execute(const CallBlock& block) {
    const Call& call = std::get<Call>(block.call->what);
    const Value callee = evaluate(call.callee);
    Arguments arguments = evaluate(call.arguments);
    arguments.named.emplace_back("caller", make_macro(*block.caller));
    write(to_text(context_, called(callee, arguments)));
    return Flow::on;
  }

  Flow execute(const With& with) {
    std::vector<Value> values;
    for (const auto& [target, value] : with.names) values.push_back(evaluate(value));
    const Inside inside(*this, scope_);
    for (size_t i = 0; i < values.size(); i++) assign(with.names[i].first, values[i]);
    return execute(with.body);
  }

  Flow execute(const Generation& block) {
    const Inside inside(*this, scope_);
    return execute(block.body);
  }

  Flow execute(const Break&) { return Flow::leave_loop; }
  Flow execute(const Continue&) { return Flow::next_round; }

  // --- expressions

  Value evaluate(const ExprPtr& expr) {
    const Context::Deeper deeper(context_);
    context_.step();
    context_.line = expr->line;
    return std::visit([&](const auto& what) { return evaluate(what); }, expr->what);
  }

  Value evaluate(const Constant& constant) { return constant.value; }
  Value evaluate(const Name& name) { return look_up(name.name); }
  Value evaluate(const Captured&) { return captured_; }

  std::vector<Value> evaluate(const std::vector<ExprPtr>& list) {
    std::vector<Value> values;
    for (const ExprPtr& expr : list) values.push_back(evaluate(expr));
    return values;
  }

  Arguments evaluate(const CallArguments& arguments) {
    Arguments values{evaluate(arguments.positional), {}};
    for (const auto& [name, expr] : arguments.named) values.named.emplace_back(name, evaluate(expr));
    return values;
  }

  Value evaluate(const ListLiteral& list) { return context_.sequence(list.kind, evaluate(list.items)); }

  Value evaluate(const DictLiteral& dict) {
    Mapping mapping;
    for (const auto& [key_expr, value_expr] : dict.items) {
      const Value key = evaluate(key_expr);
      if (!is_hashable(key)) context_.wants("a key", "a text or number", key);
      Value value = evaluate(value_expr);
      const Value* known = find(context_, mapping, key);
      if (known != nullptr) {
        *const_cast<Value*>(known) = std::move(value);
      } else {
        mapping.items.emplace_back(key, std::move(value));
      }
    }
    return context_.mapping(std::move(mapping));
  }

  Value evaluate(const Member& expr) { return member(context_, evaluate(expr.of), expr.name); }

  Value evaluate(const Item& expr) {
    const Value of = evaluate(expr.of);
    return item(context_, of, evaluate(expr.index));
  }

  Value evaluate(const Slice& expr) {
    const Value of = evaluate(expr.of);
    const auto bound = [&](const ExprPtr& part) { return part ? evaluate(part) : Value::none(); };
    const Value begin = bound(expr.begin), end = bound(expr.end), step = bound(expr.step);
    return slice(context_, of, begin, end, step);
  }

  Value evaluate(const Call& call) {
    const Value callee = evaluate(call.callee);
    const Arguments arguments = evaluate(call.arguments);
    return called(callee, arguments);
  }

  Value evaluate(const Filter& filter) {
    const Value of = evaluate(filter.of);
    const Arguments arguments = evaluate(filter.arguments);
    return jinja::filtered(context_, filter.name, filter.method, of, arguments);
  }

  Value evaluate(const Test& test) {
    const Value of = evaluate(test.of);
    const Arguments arguments = evaluate(test.arguments);
    return test.method(context_, of, arguments);
  }

  Value evaluate(const Binary& expr) {
    Value left = evaluate(expr.left);
    if (expr.op == Operator::both) return truth(context_, left) ? evaluate(expr.right) : left;
    if (expr.op == Operator::either) return truth(context_, left) ? left : evaluate(expr.right);
    return arithmetic(context_, expr.op, left, evaluate(expr.right));
  }

  Value evaluate(const Unary& expr) {
    const Value of = evaluate(expr.of);
    if (expr.sign == Sign::invert) return Value::boolean(!truth(context_, of));
    return signed_value(context_, expr.sign, of);
  }

  Value evaluate(const Concatenation& expr) {
    std::string text;
    for (const ExprPtr& part : expr.parts) {
      const std::string more = to_text(context_, evaluate(part));
      context_.bytes(more.size());
      text += more;
    }
    return context_.text(std::move(text));
  }

  Value evaluate(const Compare& expr) {
    Value left = evaluate(expr.first);
    for (const auto& [op, part] : expr.rest) {
      Value right = evaluate(part);
      if (!compare(context_, op, left, right)) return Value::boolean(false);
      left = std::move(right);
    }
    return Value::boolean(true);
  }

  Value evaluate(const Conditional& expr) {
    if (truth(context_, evaluate(expr.test))) return evaluate(expr.yes);
    if (expr.no) return evaluate(expr.no);
    return Value::undefined("an 'if' without 'else' gave no value");
  }

  // --- calls

  Value called(const Value& callee, const Arguments& arguments) {
    if (!callee.is(Kind::callable)) context_.wants("a call", "a function", callee);
    const Callable& callable = callee.callable();
    if (callable.function != nullptr) return callable.function(context_, arguments);
    if (callable.method != nullptr) return callable.method(context_, callable.self, arguments);
    return called(callable, *callable.macro, arguments);
  }

  Value called(const Callable& callable, const MacroStatement& macro, const Arguments& arguments) {
    std::shared_ptr<Scope> home = callable.scope.lock();
    if (!home) context_.unsupported("the macro " + macro.name + " called outside of the block that it stands in");
    if (arguments.positional.size() > macro.parameters.size()) {
      context_.fail("the macro " + macro.name + " takes at most " + std::to_string(macro.parameters.size()) +
                    " arguments, found " + std::to_string(arguments.positional.size()));
    }
    const Context::Deeper deeper(context_);
    const int line = context_.line;
    std::vector<const Value*> given(macro.parameters.size(), nullptr);
    for (size_t i = 0; i < arguments.positional.size(); i++) given[i] = &arguments.positional[i];
    const Inside inside(*this, std::move(home));
    for (const auto& [name, value] : arguments.named) {
      size_t i = 0;
      while (i < given.size() && macro.parameters[i].first != name) i++;
      if (i == given.size()) {
        if (name != "caller") context_.fail("the macro " + macro.name + " has no argument '" + name + "'");
        scope_->names.insert_or_assign(name, value);
      } else {
        if (given[i] != nullptr) context_.fail("the macro " + macro.name + ": argument '" + name + "' is given twice");
        given[i] = &value;
      }
    }
    for (size_t i = 0; i < given.size(); i++) {
      const auto& [name, otherwise] = macro.parameters[i];
      Value value = given[i] != nullptr ? *given[i]
                    : otherwise         ? evaluate(otherwise)
                                        : Value::undefined("parameter '" + name + "' was not provided");
      scope_->names.insert_or_assign(name, std::move(value));
    }
    std::string before = std::exchange(output_, {});
    execute(macro.body);
    context_.line = line;
    return context_.text(std::exchange(output_, std::move(before)));
  }

  Context& context_;
  std::shared_ptr<Scope> scope_ = std::make_shared<Scope>();
  std::string output_;
  Value captured_;
};

}  // namespace

std::string run(Context& context, const Body& body, std::vector<std::pair<std::string, Value>> names) {
  return Interpreter(context).run(body, std::move(names));
}

}  // namespace pare::jinja
