#include "pare/text/jinja/lexer.h"

#include <algorithm>
#include <charconv>

#include "pare/base/error.h"
#include "pare/text/jinja/py_text.h"

namespace pare::jinja {
namespace {

constexpr size_t kLongest_bytes = 1 << 20;  // a hundred times the longest published template

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_part(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

std::string with_plain_line_ends(std::string_view source) {
  std::string result;
  for (size_t i = 0; i < source.size(); i++) {
    if (source[i] == '\r') {
      result += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') i++;
    } else {
      result += source[i];
    }
  }
  if (!result.empty() && result.back() == '\n') result.pop_back();
  return result;
}

class Lexer {
 public:
  Lexer(std::string source, const std::string& where) : source_(std::move(source)), where_(where) {}

  std::vector<Token> run() {
    while (pos_ < source_.size()) {
      const size_t tag = next_tag();
      if (tag == std::string::npos) {
        add_text(source_.substr(pos_));
        move_to(source_.size());
        break;
      }
      text_before(tag);
      const char kind = source_[tag + 1];
      move_to(tag + 2);
      if (peek() == '-' || peek() == '+') move_to(pos_ + 1);
      if (kind == '#') {
        comment();
      } else if (kind == '%' && at_raw()) {
        raw();
      } else {
        add(kind == '{' ? TokenKind::print_begin : TokenKind::block_begin, kind == '{' ? "{{" : "{%");
        inside(kind == '{' ? '}' : '%');
      }
    }
    add(TokenKind::end, "the end of the template");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw UnsupportedError(where_ + ": line " + std::to_string(line_) + ": " + what);
  }
  char peek(size_t ahead = 0) const { return pos_ + ahead < source_.size() ? source_[pos_ + ahead] : '\0'; }
  bool starts(std::string_view what) const { return std::string_view(source_).substr(pos_, what.size()) == what; }
  void move_to(size_t pos) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(pos_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(pos), '\n'));
    pos_ = pos;
  }
  void skip_space() {
    const std::string_view rest = std::string_view(source_).substr(pos_);
    move_to(pos_ + rest.size() - strip(rest, std::nullopt, true, false).size());
  }
  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), 0, 0, line_}); }
  void add_text(std::string text) {
    if (!text.empty()) add(TokenKind::text, std::move(text));
  }

  size_t next_tag() const {
    for (size_t at = source_.find('{', pos_); at != std::string::npos; at = source_.find('{', at + 1)) {
      const char next = at + 1 < source_.size() ? source_[at + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') return at;
    }
    return std::string::npos;
  }

  // The text from here to the tag, without the white space that the tag takes away.
  void text_before(size_t tag) {
    std::string_view text = std::string_view(source_).substr(pos_, tag - pos_);
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (sign == '-') {
      text = strip(text, std::nullopt, false, true);
    } else if (sign != '+' && source_[tag + 1] != '{') {
      const size_t line = text.rfind('\n') + 1;  // 0 when there is none
      if ((line > 0 || at_line_start_) && strip(text.substr(line), std::nullopt, true, false).empty()) {
        text = text.substr(0, line);
      }
    }
    add_text(std::string(text));
    move_to(tag);
  }

  // Behind a tag's last character; `sign` stood before it.
  void end_tag(char sign, bool statement) {
    const size_t end = pos_;
    if (sign == '-') {
      skip_space();
    } else if (statement && sign != '+' && peek() == '\n') {
      move_to(pos_ + 1);
    }
    at_line_start_ = pos_ > end && source_[pos_ - 1] == '\n';
  }

  void comment() {
    if (pos_ == source_.size()) return;  // Jinja lets that pass
    const size_t end = source_.find("#}", pos_);
    if (end == std::string::npos) refuse("a comment has no end: #} is missing");
    const char sign = end > pos_ ? source_[end - 1] : '\0';
    move_to(end + 2);
    end_tag(sign, true);
  }

  // {% raw %}, with pos_ behind its beginning.
  bool at_raw() const {
    size_t pos = pos_;
    while (pos < source_.size() && is_space(static_cast<unsigned char>(source_[pos]))) pos++;
    if (source_.compare(pos, 3, "raw") != 0) return false;
    pos += 3;
    while (pos < source_.size() && is_space(static_cast<unsigned char>(source_[pos]))) pos++;
    return source_.compare(pos, 2, "%}") == 0 || source_.compare(pos, 3, "-%}") == 0;
  }

  void raw() {
    const size_t close = source_.find("%}", pos_);
    const char sign = source_[close - 1];
    move_to(close + 2);
    if (sign == '-') skip_space();
    at_line_start_ = source_[pos_ - 1] == '\n';
    if (pos_ == source_.size()) return;
    for (size_t tag = source_.find("{%", pos_); tag != std::string::npos; tag = source_.find("{%", tag + 1)) {
      size_t pos = tag + 2;
      if (pos < source_.size() && (source_[pos] == '-' || source_[pos] == '+')) pos++;
      while (pos < source_.size() && is_space(static_cast<unsigned char>(source_[pos]))) pos++;
      if (source_.compare(pos, 6, "endraw") != 0) continue;
      pos += 6;
      while (pos < source_.size() && is_space(static_cast<unsigned char>(source_[pos]))) pos++;
      const char last = pos < source_.size() ? source_[pos] : '\0';
      if (last == '-' || last == '+') pos++;
      if (source_.compare(pos, 2, "%}") != 0) continue;
      text_before(tag);
      move_to(pos + 2);
      end_tag(last, true);
      return;
    }
    refuse("{% raw %} has no {% endraw %}");
  }

  // The tokens of a tag up to its end, which is `closer` and "}".
  void inside(char closer) {
    std::string open;  // brackets
    while (true) {
      if (pos_ >= source_.size()) refuse(std::string("a tag has no end: ") + closer + "} is missing");
      const char c = peek();
      const bool signed_end = (c == '-' || (c == '+' && closer == '%')) && peek(1) == closer && peek(2) == '}';
      if (open.empty() && (signed_end || (c == closer && peek(1) == '}'))) {
        add(closer == '%' ? TokenKind::block_end : TokenKind::print_end, std::string(1, closer) + "}");
        move_to(pos_ + (signed_end ? 3 : 2));
        end_tag(c, closer == '%');
        return;
      }
      const size_t before = pos_;
      skip_space();
      if (pos_ != before) continue;
      if (is_digit(c)) {
        number();
      } else if (is_name_part(c)) {
        size_t end = pos_;
        while (end < source_.size() && is_name_part(source_[end])) end++;
        add(TokenKind::name, source_.substr(pos_, end - pos_));
        move_to(end);
      } else if (c == '"' || c == '\'') {
        literal();
      } else {
        sign(open);
      }
    }
  }

  void sign(std::string& open) {
    for (const char* two : {"//", "**", "==", "!=", ">=", "<="}) {
      if (starts(two)) {
        add(TokenKind::sign, two);
        move_to(pos_ + 2);
        return;
      }
    }
    const char c = peek();
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos) {
      refuse(std::string("unexpected character '") + c + "' in a tag");
    }
    if (c == '(' || c == '[' || c == '{') open += c;
    if (c == ')' || c == ']' || c == '}') {
      const char opening = c == ')' ? '(' : c == ']' ? '[' : '{';
      if (open.empty() || open.back() != opening) refuse(std::string("unexpected '") + c + "'");
      open.pop_back();
    }
    add(TokenKind::sign, std::string(1, c));
    move_to(pos_ + 1);
  }

  // Digits with single underscores between them, from `pos`; gives their end.
  size_t digits_end(size_t pos) const {
    while (pos < source_.size() &&
           (is_digit(source_[pos]) || (source_[pos] == '_' && pos + 1 < source_.size() && is_digit(source_[pos + 1]) &&
                                       is_digit(source_[pos - 1])))) {
      pos++;
    }
    return pos;
  }

  void number() {
    const auto digit_at = [&](size_t pos) { return pos < source_.size() && is_digit(source_[pos]); };
    size_t end = digits_end(pos_);
    bool real = false;
    const bool member = !tokens_.empty() && tokens_.back().kind == TokenKind::sign && tokens_.back().text == "." &&
                        source_[pos_ - 1] == '.';  // a.0.1
    if (!member && end < source_.size() && source_[end] == '.' && digit_at(end + 1)) {
      real = true;
      end = digits_end(end + 1);
    }
    if (!member && end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const size_t sign = end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-') ? 1 : 0;
      if (digit_at(end + 1 + sign)) {
        real = true;
        end = digits_end(end + 1 + sign);
      }
    }
    if (end < source_.size() && is_name_part(source_[end])) refuse("a number followed by a letter");
    std::string digits = source_.substr(pos_, end - pos_);
    std::erase(digits, '_');
    Token token{real ? TokenKind::real : TokenKind::integer, digits, 0, 0, line_};
    const char* last = digits.data() + digits.size();
    const auto error = real ? std::from_chars(digits.data(), last, token.real).ec
                            : std::from_chars(digits.data(), last, token.integer).ec;
    if (error != std::errc()) refuse("the number " + digits + " is too large");
    if (!real && digits.size() > 1 && digits[0] == '0' && token.integer != 0) refuse("a number that begins with 0");
    tokens_.push_back(std::move(token));
    move_to(end);
  }

  void literal() {
    const char quote = peek();
    const int line = line_;
    std::string text;
    size_t pos = pos_ + 1;
    while (true) {
      if (pos >= source_.size()) refuse("a text in quotes has no end");
      const char c = source_[pos++];
      if (c == quote) break;
      if (c == '\\') {
        if (pos >= source_.size()) refuse("a text in quotes has no end");
        pos = escape(pos, text);
      } else {
        text += c;
      }
    }
    move_to(pos);
    tokens_.push_back({TokenKind::literal, std::move(text), 0, 0, line});
  }

  // Python's escapes; `pos` is behind the backslash. Gives the position behind the escape.
  size_t escape(size_t pos, std::string& text) const {
    const char c = source_[pos++];
    switch (c) {
      case '\n':
        return pos;
      case '\\':
      case '\'':
      case '"':
        text += c;
        return pos;
      case 'n':
        text += '\n';
        return pos;
      case 't':
        text += '\t';
        return pos;
      case 'r':
        text += '\r';
        return pos;
      case 'a':
        text += '\a';
        return pos;
      case 'b':
        text += '\b';
        return pos;
      case 'f':
        text += '\f';
        return pos;
      case 'v':
        text += '\v';
        return pos;
      case 'x':
        return code_point(pos, pos + 2, 16, text);
      case 'u':
        return code_point(pos, pos + 4, 16, text);
      case 'U':
        return code_point(pos, pos + 8, 16, text);
      case 'N':
        refuse("the escape \\N{..}: a character by its name");
      default:
        break;
    }
    if (c >= '0' && c <= '7') {
      size_t end = pos;
      while (end < pos + 2 && end < source_.size() && source_[end] >= '0' && source_[end] <= '7') end++;
      return code_point(pos - 1, end, 8, text);
    }
    text += '\\';  // unknown escapes stay as they are; a character beyond ASCII follows by itself
    return pos - 1 < source_.size() && static_cast<unsigned char>(c) >= 0x80 ? pos - 1 : (text += c, pos);
  }

  size_t code_point(size_t begin, size_t end, int base, std::string& text) const {
    uint32_t code = 0;
    const char* last = source_.data() + std::min(end, source_.size());
    const auto [stop, error] = std::from_chars(source_.data() + begin, last, code, base);
    if (error != std::errc() || stop != source_.data() + end) refuse("an escape without all of its digits");
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) refuse("an escape that is no character");
    append_utf8(text, code);
    return end;
  }

  std::string source_;
  const std::string& where_;
  size_t pos_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> cut_into_tokens(std::string_view source, const std::string& where) {
  if (source.size() > kLongest_bytes) {
    throw UnsupportedError(where + ": a template of " + std::to_string(source.size()) + " bytes; at most " +
                           std::to_string(kLongest_bytes) + " are read");
  }
  return Lexer(with_plain_line_ends(replace_invalid_utf8(source)), where).run();
}

}  // namespace pare::jinja
