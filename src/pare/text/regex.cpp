#define PCRE2_CODE_UNIT_WIDTH 8
#include "pare/text/regex.h"

#include <pcre2.h>

#include <algorithm>
#include <cctype>
#include <new>

#include "pare/base/error.h"
#include "pare/text/unicode.h"
#include "pare/text/unicode_tables.h"

namespace pare {
namespace {

constexpr uint32_t kMatchLimit = 10'000'000;
constexpr uint32_t kHeapLimit_kib = 32 << 10;
constexpr size_t kJitStackMost_bytes = size_t{1} << 20;

struct FreeStack {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};
struct FreeData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeMatchContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct FreeCompileContext {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};

// What a match needs beside the pattern: one a thread, for all patterns.
struct Workspace {
  std::unique_ptr<pcre2_match_data, FreeData> data{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_match_context, FreeMatchContext> context{pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_jit_stack, FreeStack> stack{pcre2_jit_stack_create(32 << 10, kJitStackMost_bytes, nullptr)};

  Workspace() {
    if (!data || !context || !stack) throw std::bad_alloc();
    pcre2_set_match_limit(context.get(), kMatchLimit);
    pcre2_set_heap_limit(context.get(), kHeapLimit_kib);
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
};

std::string error_text(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

template <size_t n>
std::string class_content(const CharacterClass (&table)[n], std::string_view name) {
  for (const CharacterClass& row : table) {
    if (name == row.name) return row.content;
  }
  return "";
}

std::string bracketed(std::string opening, const std::string& content) {
  return opening.append(content).append("]");
}

// Rewrites Oniguruma's syntax for PCRE2, or refuses.
class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : pattern_(pattern), where_(where) {}

  std::string run() {
    while (pos_ < pattern_.size()) {
      const char c = pattern_[pos_];
      if (c == '\\') {
        escape(false);
      } else if (c == '[') {
        character_class();
      } else if (c == '(') {
        group();
      } else if (c == '{') {
        interval();
      } else {
        result_ += c;
        pos_++;
      }
    }
    return result_;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw UnsupportedError(where_ + ": " + what + " in the regular expression \"" + std::string(pattern_) +
                           "\": Pare's engine gives it another meaning than the original tokenizer's");
  }
  char peek(size_t ahead) const { return pos_ + ahead < pattern_.size() ? pattern_[pos_ + ahead] : '\0'; }

  void put_class(const std::string& content, bool negated, bool inside) {
    if (!inside) {
      result_ += bracketed(negated ? "[^" : "[", content);
    } else if (!negated) {
      result_ += content;
    } else {
      refuse("a negated class inside brackets");
    }
  }

  void escape(bool inside) {
    const char c = peek(1);
    const auto keep = [&](size_t length) {
      result_ += pattern_.substr(pos_, length);
      pos_ += length;
    };
    if (c == '\0') refuse("a backslash at the end");
    if (c == 'p' || c == 'P') return property(inside);
    if (c == 'S' && inside) {
      // White_Space is the same in both engines' Unicode versions
      result_ += "\\P{White_Space}";
      pos_ += 2;
      return;
    }
    if (c == 's' || c == 'S' || c == 'w' || c == 'W' || c == 'd' || c == 'D') {
      const char lower = static_cast<char>(c | 0x20);
      put_class(class_content(kOnigurumaClasses, std::string_view(&lower, 1)), c != lower, inside);
      pos_ += 2;
      return;
    }
    if (c == 'n' || c == 'r' || c == 't' || c == 'f') return keep(2);
    if (c == 'v') {
      result_ += "\\x0b";
      pos_ += 2;
      return;
    }
    if (c == 'A' || c == 'z') {
      if (inside) refuse(std::string("\\") + c + " inside brackets");
      return keep(2);
    }
    if (c == 'u' || c == 'x') return code_point(c);
    if (static_cast<unsigned char>(c) >= 0x80) {  // an escaped character beyond ASCII is itself
      pos_++;
      return;
    }
    const bool letter_or_digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter_or_digit) refuse(std::string("\\") + c);
    keep(2);
  }

  void property(bool inside) {
    bool negated = peek(1) == 'P';
    const size_t close = pattern_.find('}', pos_);
    if (peek(2) != '{' || close == std::string_view::npos) refuse("\\p without braces");
    std::string_view name = pattern_.substr(pos_ + 3, close - pos_ - 3);
    if (!name.empty() && name[0] == '^') {
      negated = !negated;
      name.remove_prefix(1);
    }
    const std::string content =
        name.empty() || name == "s" || name == "w" || name == "d" ? "" : class_content(kOnigurumaClasses, name);
    if (content.empty()) refuse("\\p{" + std::string(name) + "}");
    put_class(content, negated, inside);
    pos_ = close + 1;
  }

  // \xHH, \x{H..}, \uHHHH
  void code_point(char kind) {
    std::string digits;
    size_t end = pos_ + 2;
    if (kind == 'x' && peek(2) == '{') {
      const size_t close = pattern_.find('}', pos_);
      if (close == std::string_view::npos) refuse("\\x{ without }");
      digits = pattern_.substr(pos_ + 3, close - pos_ - 3);
      end = close + 1;
    } else {
      const size_t most = kind == 'u' ? 4 : 2;
      while (digits.size() < most && end < pattern_.size() &&
             std::isxdigit(static_cast<unsigned char>(pattern_[end]))) {
        digits += pattern_[end++];
      }
      if (digits.size() != most) refuse(std::string("\\") + kind + " without its " + std::to_string(most) + " digits");
      if (kind == 'x' && digits[0] > '7') refuse("\\x of a byte");  // there a raw byte, here a code point
    }
    const bool hexadecimal =
        std::all_of(digits.begin(), digits.end(), [](unsigned char d) { return std::isxdigit(d); });
    if (digits.empty() || digits.size() > 6 || !hexadecimal) refuse("\\x{" + digits + "}");
    result_ += "\\x{" + digits + "}";
    pos_ = end;
  }

  void character_class() {
    result_ += pattern_[pos_++];
    if (pos_ < pattern_.size() && pattern_[pos_] == '^') result_ += pattern_[pos_++];
    if (pos_ < pattern_.size() && pattern_[pos_] == ']') refuse("an empty class or one that begins with ]");
    while (pos_ < pattern_.size()) {
      const char c = pattern_[pos_];
      if (c == '\\') {
        escape(true);
      } else if (c == '[') {
        refuse("a class inside a class");
      } else if (c == '&' && peek(1) == '&') {
        refuse("&& in a class");
      } else {
        result_ += c;
        pos_++;
        if (c == ']') return;
      }
    }
    refuse("[ without ]");
  }

  void group() {
    if (peek(1) == '*') refuse("(*");
    if (peek(1) == '?') {
      const std::string_view rest = pattern_.substr(pos_ + 2);
      const auto starts = [&](std::string_view start) { return rest.substr(0, start.size()) == start; };
      const bool known = starts(":") || starts("=") || starts("!") || starts("<=") || starts("<!") || starts(">") ||
                         starts("i:") || (starts("i)") && pos_ == 0);
      if (!known) refuse("(?" + std::string(rest.substr(0, 2)));
    }
    result_ += '(';
    pos_++;
    if (peek(0) == '?') {
      result_ += '?';
      pos_++;
    }
  }

  void interval() {
    const size_t close = pattern_.find('}', pos_);
    if (close == std::string_view::npos) refuse("{ without }");
    const std::string_view content = pattern_.substr(pos_ + 1, close - pos_ - 1);
    const size_t comma = content.find(',');
    const auto number = [](std::string_view digits) {
      return !digits.empty() && digits.size() <= 5 &&
             std::all_of(digits.begin(), digits.end(), [](char d) { return d >= '0' && d <= '9'; });
    };
    const bool known =
        comma == std::string_view::npos
            ? number(content)
            : number(content.substr(0, comma)) && (comma + 1 == content.size() || number(content.substr(comma + 1)));
    if (!known) refuse("{" + std::string(content) + "}");
    const char next = close + 1 < pattern_.size() ? pattern_[close + 1] : '\0';
    if (next == '+' || next == '?') refuse("{" + std::string(content) + "}" + next);
    result_ += pattern_.substr(pos_, close + 1 - pos_);
    pos_ = close + 1;
  }

  std::string_view pattern_;
  const std::string& where_;
  size_t pos_ = 0;
  std::string result_;
};

}  // namespace

struct Regex::Compiled {
  std::string pattern, where;
  pcre2_code* code = nullptr;

  Compiled() = default;
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;
  ~Compiled() { pcre2_code_free(code); }
};

Regex Regex::oniguruma(std::string_view pattern, const std::string& where) {
  constexpr size_t kLongest = 20'000;  // far above any tokenizer's; PCRE2 compiles in memory proportional to it
  if (pattern.size() > kLongest) {
    throw UnsupportedError(where + ": a regular expression of " + std::to_string(pattern.size()) + " bytes; at most " +
                           std::to_string(kLongest) + " are taken");
  }
  Regex regex = pcre(Translator(pattern, where).run(), where);
  return regex;
}

Regex Regex::pcre(const std::string& pattern, const std::string& where) {
  const std::unique_ptr<pcre2_compile_context, FreeCompileContext> context(pcre2_compile_context_create(nullptr));
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 100);
  auto compiled = std::make_shared<Compiled>();
  compiled->pattern = pattern;
  compiled->where = where;
  int error = 0;
  PCRE2_SIZE offset = 0;
  // ^ and $ stand at every line in Oniguruma
  const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE;
  compiled->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &error, &offset,
                                 context.get());
  if (compiled->code == nullptr) {
    throw InputError(where + ": the regular expression \"" + pattern + "\" is not valid at byte " +
                     std::to_string(offset) + ": " + error_text(error));
  }
  pcre2_jit_compile(compiled->code, PCRE2_JIT_COMPLETE);  // where the machine has none, the interpreter serves
  Regex regex;
  regex.compiled_ = std::move(compiled);
  return regex;
}

std::optional<TextRange> Regex::find(std::string_view text, size_t from) const {
  static thread_local Workspace workspace;
  const int found = pcre2_match(compiled_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                PCRE2_NO_UTF_CHECK, workspace.data.get(), workspace.context.get());
  if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (found < 0) {
    throw InputError(compiled_->where + ": the regular expression \"" + compiled_->pattern + "\" gave up at byte " +
                     std::to_string(from) + " of a text of " + std::to_string(text.size()) +
                     " bytes: " + error_text(found) + ". It takes too many steps on such text.");
  }
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(workspace.data.get());
  return TextRange{ends[0], ends[1]};
}

std::string rust_word_class() {
  return "[" + class_content(kRustClasses, "w") + "]";
}
std::string rust_numeric_class() {
  return "[" + class_content(kRustClasses, "numeric") + "]";
}

std::vector<Cut> cut_by_regex(std::string_view text, const Regex& regex) {
  if (text.empty()) return {Cut{}};
  std::vector<Cut> cuts;
  size_t previous = 0, from = 0;
  std::optional<size_t> last_end;
  while (from <= text.size()) {
    const auto found = regex.find(text, from);
    if (!found) break;
    // An empty match right behind the last one does not count: one character on
    if (found->begin == found->end && last_end == found->end) {
      from += from < text.size() ? utf8_length(static_cast<unsigned char>(text[from])) : 1;
      continue;
    }
    if (previous < found->begin) cuts.push_back({{previous, found->begin}, false});
    cuts.push_back({*found, true});
    previous = from = found->end;
    last_end = found->end;
  }
  if (previous < text.size()) cuts.push_back({{previous, text.size()}, false});
  return cuts;
}

std::vector<Cut> cut_by_text(std::string_view text, std::string_view literal) {
  if (text.empty()) return {Cut{}};
  std::vector<Cut> cuts;
  size_t previous = 0;
  for (size_t at = text.find(literal); at != std::string_view::npos; at = text.find(literal, previous)) {
    if (previous < at) cuts.push_back({{previous, at}, false});
    cuts.push_back({{at, at + literal.size()}, true});
    previous = at + literal.size();
  }
  if (previous < text.size()) cuts.push_back({{previous, text.size()}, false});
  return cuts;
}

}  // namespace pare
