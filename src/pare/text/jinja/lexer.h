// A template cut into text and the tokens of its tags.
//
//   {{ expression }}   {% statement %}   {# comment #}   {% raw %} as it is {% endraw %}
//
// White space as transformers sets Jinja up (trim_blocks, lstrip_blocks): a line break right after a statement or
// comment is dropped, so is white space before one that begins its line; "-" inside a tag drops all white space on that
// side,
// "+" keeps it. Line breaks of any kind become \n and one at the very end is dropped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pare::jinja {

enum class TokenKind {
  text,  // outside of tags
  print_begin,
  print_end,
  block_begin,
  block_end,
  name,
  literal,  // a quoted text, escapes resolved
  integer,
  real,
  sign,  // operators and brackets
  end,
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::string text;  // name, sign, text, literal
  int64_t integer = 0;
  double real = 0;
  int line = 1;
};

// `where` names the template in messages. UnsupportedError, also for what Jinja itself would refuse.
std::vector<Token> cut_into_tokens(std::string_view source, const std::string& where);

}  // namespace pare::jinja
