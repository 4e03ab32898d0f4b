// Regular expressions as Hugging Face tokenizers mean them (Oniguruma, UTF-8), run by PCRE2.
//
// The two engines agree on most of the syntax; where they do not, the pattern is rewritten or refused:
//   \s \w \d \p{..}   to the same characters that the reference's Unicode tables give (PCRE2 10.42 knows Unicode 14,
//                     the reference 16; text/unicode_tables.h holds what was added in between)
//   refused by name   class intersections and nested classes, {n,m}+, back references, \h \R \X \K \G \k \g, callouts,
//                     scripts and other properties: same spelling, another meaning
// Limits on steps and memory turn a pattern that explodes into an InputError.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pare {

struct TextRange {
  size_t begin = 0, end = 0;
};

class Regex {
 public:
  // `where` names the pattern's place in messages. UnsupportedError for what cannot be had with the same meaning.
  static Regex oniguruma(std::string_view pattern, const std::string& where);
  static Regex pcre(const std::string& pattern, const std::string& where);

  // First match at or after `from`. The text is valid UTF-8.
  std::optional<TextRange> find(std::string_view text, size_t from) const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

// [..] with the characters of Rust's \w, and of char::is_numeric, in PCRE2's syntax.
std::string rust_word_class();
std::string rust_numeric_class();

// A text cut into matches and what lies between them, in order, without gaps. Empty text: one empty non-match.
struct Cut {
  TextRange range;
  bool match = false;
};
std::vector<Cut> cut_by_regex(std::string_view text, const Regex& regex);
std::vector<Cut> cut_by_text(std::string_view text, std::string_view literal);

}  // namespace pare
