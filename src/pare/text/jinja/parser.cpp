#include "pare/text/jinja/parser.h"

#include <algorithm>

#include "pare/base/error.h"
#include "pare/text/jinja/expression_parser.h"

namespace pare::jinja {
namespace {

// Words that cannot name a variable.
constexpr const char* kReserved[] = {"true", "false", "none", "True", "False", "None", "and",
                                     "or",   "not",   "in",   "is",   "if",    "else", "elif"};

class Parser : ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Body run() {
    Body body = statements({});
    if (token().kind != TokenKind::end) unexpected("the end of the template");
    return body;
  }

 private:
  // Up to a statement of one of these names, or the end; that statement's name is the next token.
  Body statements(std::initializer_list<const char*> enders) {
    const Deeper deeper(*this);
    Body body;
    while (token().kind != TokenKind::end) {
      const int line = token().line;
      if (token().kind == TokenKind::text) {
        body.push_back({line, Text{next().text}});
      } else if (token().kind == TokenKind::print_begin) {
        next();
        body.push_back({line, Print{expression_or_tuple()}});
        if (token().kind != TokenKind::print_end) unexpected("'}}'");
        next();
      } else {
        next();  // {%
        if (std::any_of(enders.begin(), enders.end(), [&](const char* name) { return is_name(name); })) return body;
        body.push_back(statement());
      }
    }
    if (enders.size() > 0) refuse(std::string("{% ") + *(enders.end() - 1) + " %} is missing");
    return body;
  }

  void end_block() {
    if (token().kind != TokenKind::block_end) unexpected("'%}'");
    next();
  }

  // A body and the end of it.
  Body block(const char* ender) {
    end_block();
    Body body = statements({ender});
    next();
    end_block();
    return body;
  }

  Statement statement() {
    const int line = token().line;
    const std::string name = expect_name("the name of a statement");
    if (name == "if") return {line, if_statement()};
    if (name == "for") return {line, for_statement()};
    if (name == "set") return set_statement(line);
    if (name == "macro") return {line, macro_statement()};
    if (name == "call") return {line, call_block()};
    if (name == "filter") return {line, filter_block()};
    if (name == "with") return {line, with_block()};
    if (name == "generation") return {line, Generation{block("endgeneration")}};
    if (name == "break" || name == "continue") {
      if (loops_ == 0) refuse("{% " + name + " %} outside of a loop");
      end_block();
      if (name == "break") return {line, Break{}};
      return {line, Continue{}};
    }
    refuse("unknown statement {% " + name + " %}");
  }

  If if_statement() {
    If result;
    while (true) {
      ExprPtr test = expression_or_tuple(false);
      end_block();
      result.branches.push_back({std::move(test), statements({"elif", "else", "endif"})});
      if (!skip_name("elif")) break;
    }
    if (skip_name("else")) {
      end_block();
      result.branches.push_back({nullptr, statements({"endif"})});
    }
    next();
    end_block();
    return result;
  }

  For for_statement() {
    For result;
    result.target = targets(false);
    if (!skip_name("in")) unexpected("'in'");
    result.over = expression_or_tuple(false);
    if (skip_name("if")) result.filter = expression();
    if (is_name("recursive")) refuse("a recursive loop");
    end_block();
    loops_++;
    result.body = statements({"else", "endfor"});
    loops_--;
    if (skip_name("else")) {
      end_block();
      result.otherwise = statements({"endfor"});
    }
    next();
    end_block();
    return result;
  }

  Target one_target(bool with_member) {
    if (skip_sign("(")) {
      Target result = targets(false);
      expect_sign(")");
      return result;
    }
    Target result;
    if (token().kind == TokenKind::name &&
        std::any_of(std::begin(kReserved), std::end(kReserved), [&](const char* word) { return is_name(word); })) {
      unexpected("a name to assign to");
    }
    result.name = expect_name("a name to assign to");
    if (with_member && skip_sign(".")) result.member = expect_name("the name of a member");
    return result;
  }

  // a   a.b   a, b
  Target targets(bool with_member) {
    const Deeper deeper(*this);
    Target first = one_target(with_member);
    if (!is_sign(",")) return first;
    Target result;
    result.several.push_back(std::move(first));
    while (skip_sign(",") && (token().kind == TokenKind::name || is_sign("(")) && !is_name("in")) {
      result.several.push_back(one_target(with_member));
    }
    return result;
  }

  Statement set_statement(int line) {
    Target target = targets(true);
    if (skip_sign("=")) {
      Set set{std::move(target), expression_or_tuple()};
      end_block();
      return {line, std::move(set)};
    }
    ExprPtr filtered = is_sign("|") ? filters_of(make(Captured{}, line)) : nullptr;
    return {line, SetBlock{std::move(target), std::move(filtered), macro_body("endset")}};
  }

  // Names and their defaults, in parentheses.
  std::vector<std::pair<std::string, ExprPtr>> parameters() {
    std::vector<std::pair<std::string, ExprPtr>> result;
    expect_sign("(");
    while (!is_sign(")")) {
      std::string name = one_target(false).name;
      if (name.empty()) unexpected("the name of a parameter");
      ExprPtr otherwise;
      if (skip_sign("=")) {
        otherwise = expression();
      } else if (!result.empty() && result.back().second) {
        refuse("a parameter without a default behind one with a default");
      }
      result.emplace_back(std::move(name), std::move(otherwise));
      if (!is_sign(")")) expect_sign(",");
    }
    next();
    return result;
  }

  // What stands in a macro or a captured block cannot leave a loop around it.
  Body macro_body(const char* ender) {
    const int loops = std::exchange(loops_, 0);
    Body body = block(ender);
    loops_ = loops;
    return body;
  }

  std::unique_ptr<MacroStatement> macro_statement() {
    auto macro = std::make_unique<MacroStatement>();
    macro->name = expect_name("the name of a macro");
    macro->parameters = parameters();
    macro->body = macro_body("endmacro");
    return macro;
  }

  CallBlock call_block() {
    CallBlock result;
    result.caller = std::make_unique<MacroStatement>();
    result.caller->name = "caller";
    if (is_sign("(")) result.caller->parameters = parameters();
    result.call = postfix_expression();
    if (!std::holds_alternative<Call>(result.call->what)) refuse("{% call %} wants a call, name(...)");
    result.caller->body = macro_body("endcall");
    return result;
  }

  FilterBlock filter_block() {
    FilterBlock result;
    result.filtered = filters_of(make(Captured{}, token().line), false);
    result.body = macro_body("endfilter");
    return result;
  }

  With with_block() {
    With result;
    while (token().kind != TokenKind::block_end) {
      if (!result.names.empty()) expect_sign(",");
      Target target = targets(false);
      expect_sign("=");
      result.names.emplace_back(std::move(target), expression());
    }
    result.body = block("endwith");
    return result;
  }

  int loops_ = 0;
};

}  // namespace

Body parse(std::string_view source, const std::string& where) {
  return Parser(cut_into_tokens(source, where), where).run();
}

}  // namespace pare::jinja
