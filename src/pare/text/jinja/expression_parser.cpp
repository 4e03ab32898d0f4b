#include "pare/text/jinja/expression_parser.h"

#include <algorithm>

#include "pare/base/error.h"

namespace pare::jinja {
namespace {

constexpr int kDeepest = 150;  // of a tree, and of the parser's own calls; published templates stay under 20

std::string shown(const Token& token) {
  switch (token.kind) {
    case TokenKind::text:
      return "text";
    case TokenKind::literal:
      return "a text in quotes";
    case TokenKind::end:
      return "the end of the template";
    default:
      return "'" + token.text.substr(0, 40) + "'";
  }
}

int depth_of(const ExprPtr& expr) {
  return expr ? expr->depth : 0;
}
int depth_of(const CallArguments& arguments) {
  int depth = 0;
  for (const auto& expr : arguments.positional) depth = std::max(depth, depth_of(expr));
  for (const auto& [name, expr] : arguments.named) depth = std::max(depth, depth_of(expr));
  return depth;
}
int depth_of(const std::vector<ExprPtr>& list) {
  int depth = 0;
  for (const auto& expr : list) depth = std::max(depth, depth_of(expr));
  return depth;
}

int depth_in(const Constant&) {
  return 0;
}
int depth_in(const Name&) {
  return 0;
}
int depth_in(const Captured&) {
  return 0;
}
int depth_in(const ListLiteral& e) {
  return depth_of(e.items);
}
int depth_in(const DictLiteral& e) {
  int depth = 0;
  for (const auto& [key, value] : e.items) depth = std::max({depth, depth_of(key), depth_of(value)});
  return depth;
}
int depth_in(const Member& e) {
  return depth_of(e.of);
}
int depth_in(const Item& e) {
  return std::max(depth_of(e.of), depth_of(e.index));
}
int depth_in(const Slice& e) {
  return std::max({depth_of(e.of), depth_of(e.begin), depth_of(e.end), depth_of(e.step)});
}
int depth_in(const Call& e) {
  return std::max(depth_of(e.callee), depth_of(e.arguments));
}
int depth_in(const Filter& e) {
  return std::max(depth_of(e.of), depth_of(e.arguments));
}
int depth_in(const Test& e) {
  return std::max(depth_of(e.of), depth_of(e.arguments));
}
int depth_in(const Binary& e) {
  return std::max(depth_of(e.left), depth_of(e.right));
}
int depth_in(const Unary& e) {
  return depth_of(e.of);
}
int depth_in(const Concatenation& e) {
  return depth_of(e.parts);
}
int depth_in(const Compare& e) {
  int depth = depth_of(e.first);
  for (const auto& [op, expr] : e.rest) depth = std::max(depth, depth_of(expr));
  return depth;
}
int depth_in(const Conditional& e) {
  return std::max({depth_of(e.test), depth_of(e.yes), depth_of(e.no)});
}

}  // namespace

ExpressionParser::Deeper::Deeper(ExpressionParser& parser) : parser_(parser) {
  if (parser.depth_ >= kDeepest) parser.refuse("nested more than " + std::to_string(kDeepest) + " deep");
  parser.depth_++;
}

template <class T>
ExprPtr ExpressionParser::make(T what, int line) {
  const int depth = 1 + depth_in(what);
  if (depth > kDeepest) refuse("an expression nested more than " + std::to_string(kDeepest) + " deep");
  auto expr = std::make_unique<Expr>();
  expr->line = line;
  expr->depth = depth;
  expr->what = std::move(what);
  return expr;
}
template ExprPtr ExpressionParser::make(Captured, int);

void ExpressionParser::refuse(const std::string& what) const {
  throw UnsupportedError(where_ + ": line " + std::to_string(token().line) + ": " + what);
}

void ExpressionParser::unexpected(const std::string& wanted) const {
  refuse("expected " + wanted + ", found " + shown(token()));
}

Token ExpressionParser::next() {
  const Token token = tokens_[at_];
  if (token.kind != TokenKind::end) at_++;
  return token;
}

bool ExpressionParser::skip_name(std::string_view name) {
  if (!is_name(name)) return false;
  at_++;
  return true;
}

bool ExpressionParser::skip_sign(std::string_view sign) {
  if (!is_sign(sign)) return false;
  at_++;
  return true;
}

void ExpressionParser::expect_sign(std::string_view sign) {
  if (!skip_sign(sign)) unexpected("'" + std::string(sign) + "'");
}

std::string ExpressionParser::expect_name(const char* what) {
  if (token().kind != TokenKind::name) unexpected(what);
  return next().text;
}

ExprPtr ExpressionParser::expression(bool conditional) {
  const Deeper deeper(*this);
  if (!conditional) return either();
  const int line = token().line;
  ExprPtr yes = either();
  while (skip_name("if")) {
    ExprPtr test = either();
    ExprPtr no = skip_name("else") ? expression() : nullptr;
    yes = make(Conditional{std::move(test), std::move(yes), std::move(no)}, line);
  }
  return yes;
}

bool ExpressionParser::at_end_of_expression() const {
  return token().kind == TokenKind::print_end || token().kind == TokenKind::block_end || is_sign(")") ||
         is_name("in") || is_name("recursive");
}

ExprPtr ExpressionParser::expression_or_tuple(bool conditional) {
  const int line = token().line;
  ExprPtr first = expression(conditional);
  if (!is_sign(",")) return first;
  ListLiteral tuple{Kind::tuple, {}};
  tuple.items.push_back(std::move(first));
  while (skip_sign(",") && !at_end_of_expression()) tuple.items.push_back(expression(conditional));
  return make(std::move(tuple), line);
}

ExprPtr ExpressionParser::either() {
  const int line = token().line;
  ExprPtr left = both();
  while (skip_name("or")) left = make(Binary{Operator::either, std::move(left), both()}, line);
  return left;
}

ExprPtr ExpressionParser::both() {
  const int line = token().line;
  ExprPtr left = inversion();
  while (skip_name("and")) left = make(Binary{Operator::both, std::move(left), inversion()}, line);
  return left;
}

ExprPtr ExpressionParser::inversion() {
  const int line = token().line;
  if (!skip_name("not")) return comparison();
  const Deeper deeper(*this);
  return make(Unary{Sign::invert, inversion()}, line);
}

ExprPtr ExpressionParser::comparison() {
  static constexpr std::pair<const char*, Comparison> kSigns[] = {
      {"==", Comparison::equal},      {"!=", Comparison::not_equal}, {"<", Comparison::less},
      {"<=", Comparison::less_equal}, {">", Comparison::greater},    {">=", Comparison::greater_equal}};
  const int line = token().line;
  Compare compare{sum(), {}};
  while (true) {
    const auto found =
        std::find_if(std::begin(kSigns), std::end(kSigns), [&](const auto& s) { return is_sign(s.first); });
    if (found != std::end(kSigns)) {
      next();
      compare.rest.emplace_back(found->second, sum());
    } else if (skip_name("in")) {
      compare.rest.emplace_back(Comparison::in, sum());
    } else if (is_name("not") && tokens_[at_ + 1].kind == TokenKind::name && tokens_[at_ + 1].text == "in") {
      at_ += 2;
      compare.rest.emplace_back(Comparison::not_in, sum());
    } else {
      break;
    }
  }
  if (compare.rest.empty()) return std::move(compare.first);
  return make(std::move(compare), line);
}

ExprPtr ExpressionParser::sum() {
  const int line = token().line;
  ExprPtr left = concatenation();
  while (is_sign("+") || is_sign("-")) {
    const Operator op = next().text == "+" ? Operator::add : Operator::subtract;
    left = make(Binary{op, std::move(left), concatenation()}, line);
  }
  return left;
}

ExprPtr ExpressionParser::concatenation() {
  const int line = token().line;
  Concatenation joined;
  joined.parts.push_back(product());
  while (skip_sign("~")) joined.parts.push_back(product());
  if (joined.parts.size() == 1) return std::move(joined.parts[0]);
  return make(std::move(joined), line);
}

ExprPtr ExpressionParser::product() {
  const int line = token().line;
  ExprPtr left = power();
  while (is_sign("*") || is_sign("/") || is_sign("//") || is_sign("%")) {
    const Operator op = is_sign("*")    ? Operator::multiply
                        : is_sign("/")  ? Operator::divide
                        : is_sign("//") ? Operator::floor_divide
                                        : Operator::modulo;
    next();
    left = make(Binary{op, std::move(left), power()}, line);
  }
  return left;
}

ExprPtr ExpressionParser::power() {
  const int line = token().line;
  ExprPtr left = unary(true);
  while (skip_sign("**")) left = make(Binary{Operator::power, std::move(left), unary(true)}, line);
  return left;
}

ExprPtr ExpressionParser::unary(bool with_filters) {
  const Deeper deeper(*this);
  const int line = token().line;
  ExprPtr expr;
  if (is_sign("-") || is_sign("+")) {
    const Sign sign = next().text == "-" ? Sign::negate : Sign::keep;
    expr = make(Unary{sign, unary(false)}, line);
  } else {
    expr = primary();
  }
  expr = postfix(std::move(expr));
  return with_filters ? filters_and_tests(std::move(expr)) : std::move(expr);
}

ExprPtr ExpressionParser::primary() {
  const Token first = token();
  switch (first.kind) {
    case TokenKind::name:
      next();
      if (first.text == "true" || first.text == "True") return make(Constant{Value::boolean(true)}, first.line);
      if (first.text == "false" || first.text == "False") return make(Constant{Value::boolean(false)}, first.line);
      if (first.text == "none" || first.text == "None") return make(Constant{Value::none()}, first.line);
      return make(Name{first.text}, first.line);
    case TokenKind::literal: {
      std::string text;
      while (token().kind == TokenKind::literal) text += next().text;
      return make(Constant{Value::raw_text(std::move(text))}, first.line);
    }
    case TokenKind::integer:
      next();
      return make(Constant{Value::integer(first.integer)}, first.line);
    case TokenKind::real:
      next();
      return make(Constant{Value::real(first.real)}, first.line);
    default:
      break;
  }
  if (is_sign("(")) return parenthesis();
  if (is_sign("[")) return list();
  if (is_sign("{")) return dict();
  unexpected("a value");
}

ExprPtr ExpressionParser::parenthesis() {
  const int line = next().line;
  ExprPtr inner = is_sign(")") ? make(ListLiteral{Kind::tuple, {}}, line) : expression_or_tuple();
  expect_sign(")");
  return inner;
}

ExprPtr ExpressionParser::list() {
  const int line = next().line;
  ListLiteral list;
  while (!is_sign("]")) {
    list.items.push_back(expression());
    if (!is_sign("]")) expect_sign(",");
  }
  next();
  return make(std::move(list), line);
}

ExprPtr ExpressionParser::dict() {
  const int line = next().line;
  DictLiteral dict;
  while (!is_sign("}")) {
    ExprPtr key = expression();
    expect_sign(":");
    dict.items.emplace_back(std::move(key), expression());
    if (!is_sign("}")) expect_sign(",");
  }
  next();
  return make(std::move(dict), line);
}

ExprPtr ExpressionParser::postfix(ExprPtr of) {
  while (true) {
    const int line = token().line;
    if (skip_sign(".")) {
      if (token().kind == TokenKind::integer) {
        of = make(Item{std::move(of), make(Constant{Value::integer(token().integer)}, line)}, line);
        next();
      } else {
        std::string name = expect_name("a name or number behind '.'");
        of = make(Member{std::move(of), std::move(name)}, line);
      }
    } else if (is_sign("[")) {
      of = subscript(std::move(of));
    } else if (is_sign("(")) {
      of = call(std::move(of));
    } else {
      return of;
    }
  }
}

ExprPtr ExpressionParser::postfix_expression() {
  return postfix(primary());
}

ExprPtr ExpressionParser::subscript(ExprPtr of) {
  const int line = next().line;
  const auto part = [&]() -> ExprPtr { return is_sign(":") || is_sign("]") ? nullptr : expression(); };
  if (is_sign("]")) unexpected("a value between [ and ]");
  ExprPtr begin = part();
  if (is_sign(",")) refuse("several values between [ and ]");
  if (skip_sign("]")) return make(Item{std::move(of), std::move(begin)}, line);
  expect_sign(":");
  Slice slice{std::move(of), std::move(begin), part(), nullptr};
  if (skip_sign(":")) slice.step = part();
  expect_sign("]");
  return make(std::move(slice), line);
}

ExprPtr ExpressionParser::call(ExprPtr of) {
  const int line = token().line;
  return make(Call{std::move(of), arguments()}, line);
}

CallArguments ExpressionParser::arguments() {
  expect_sign("(");
  CallArguments result;
  while (!is_sign(")")) {
    if (is_sign("*") || is_sign("**")) refuse("arguments from a list or mapping: '" + token().text + "' in a call");
    const bool named =
        token().kind == TokenKind::name && tokens_[at_ + 1].kind == TokenKind::sign && tokens_[at_ + 1].text == "=";
    if (named) {
      std::string name = next().text;
      next();
      result.named.emplace_back(std::move(name), expression());
    } else {
      if (!result.named.empty()) refuse("an argument without a name behind one with a name");
      result.positional.push_back(expression());
    }
    if (!is_sign(")")) expect_sign(",");
  }
  next();
  return result;
}

std::string ExpressionParser::dotted_name(const char* what) {
  std::string name = expect_name(what);
  while (skip_sign(".")) name += "." + expect_name(what);
  return name;
}

ExprPtr ExpressionParser::filters_and_tests(ExprPtr of) {
  while (true) {
    if (skip_sign("|")) {
      of = filter(std::move(of));
    } else if (is_name("is")) {
      of = test(std::move(of));
    } else if (is_sign("(")) {
      of = call(std::move(of));
    } else {
      return of;
    }
  }
}

ExprPtr ExpressionParser::filters_of(ExprPtr of, bool first_has_sign) {
  if (!first_has_sign) of = filter(std::move(of));
  while (skip_sign("|")) of = filter(std::move(of));
  return of;
}

ExprPtr ExpressionParser::filter(ExprPtr of) {
  const int line = token().line;
  std::string name = dotted_name("the name of a filter");
  const Method method = find_filter(name);
  if (method == nullptr) refuse("unknown filter '" + name + "'");
  CallArguments given = is_sign("(") ? arguments() : CallArguments{};
  return make(Filter{std::move(of), std::move(name), method, std::move(given)}, line);
}

ExprPtr ExpressionParser::test(ExprPtr of) {
  const int line = next().line;
  const bool negated = skip_name("not");
  std::string name = dotted_name("the name of a test");
  const Method method = find_test(name);
  if (method == nullptr) refuse("unknown test '" + name + "'");
  CallArguments given;
  const TokenKind kind = token().kind;
  if (is_sign("(")) {
    given = arguments();
  } else if ((kind == TokenKind::name && !is_name("else") && !is_name("or") && !is_name("and")) ||
             kind == TokenKind::literal || kind == TokenKind::integer || kind == TokenKind::real || is_sign("[") ||
             is_sign("{")) {
    if (is_name("is")) refuse("a second 'is' behind the first");
    given.positional.push_back(postfix(primary()));
  }
  ExprPtr result = make(Test{std::move(of), std::move(name), method, std::move(given)}, line);
  return negated ? make(Unary{Sign::invert, std::move(result)}, line) : std::move(result);
}

}  // namespace pare::jinja
