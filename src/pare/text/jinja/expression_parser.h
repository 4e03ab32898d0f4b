// Expressions, by Jinja's grammar and its order of precedence, loosest first:
//   a if b else c | or | and | not | == != < <= > >= in | + - | ~ | * / // % | ** | -x +x | .a [b] (c) | filters, is
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "pare/text/jinja/ast.h"
#include "pare/text/jinja/lexer.h"

namespace pare::jinja {

class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, const std::string& where) : tokens_(std::move(tokens)), where_(where) {}

  ExprPtr expression(bool conditional = true);
  // One expression, or several with commas between them: a tuple.
  ExprPtr expression_or_tuple(bool conditional = true);
  // | f | g(1), of a block's text; the first "|" may be left out.
  ExprPtr filters_of(ExprPtr of, bool first_has_sign = true);
  ExprPtr postfix_expression();  // f(x), a.b[c]

  const Token& token() const { return tokens_[at_]; }
  bool is_name(std::string_view name) const { return token().kind == TokenKind::name && token().text == name; }
  bool is_sign(std::string_view sign) const { return token().kind == TokenKind::sign && token().text == sign; }
  bool skip_name(std::string_view name);
  bool skip_sign(std::string_view sign);
  void expect_sign(std::string_view sign);
  std::string expect_name(const char* what);
  Token next();
  [[noreturn]] void refuse(const std::string& what) const;
  [[noreturn]] void unexpected(const std::string& wanted) const;

  template <class T>
  ExprPtr make(T what, int line);

  // Counts how deep the parser itself is.
  class Deeper {
   public:
    explicit Deeper(ExpressionParser& parser);
    ~Deeper() { parser_.depth_--; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    ExpressionParser& parser_;
  };

 private:
  ExprPtr either();
  ExprPtr both();
  ExprPtr inversion();
  ExprPtr comparison();
  ExprPtr sum();
  ExprPtr concatenation();
  ExprPtr product();
  ExprPtr power();
  ExprPtr unary(bool with_filters);
  ExprPtr primary();
  ExprPtr parenthesis();
  ExprPtr list();
  ExprPtr dict();
  ExprPtr postfix(ExprPtr of);
  ExprPtr subscript(ExprPtr of);
  ExprPtr filters_and_tests(ExprPtr of);
  ExprPtr filter(ExprPtr of);
  ExprPtr test(ExprPtr of);
  ExprPtr call(ExprPtr of);
  CallArguments arguments();
  std::string dotted_name(const char* what);
  bool at_end_of_expression() const;

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;

 protected:
  const std::string& where_;
};

}  // namespace pare::jinja
