// UTF-8 and the Unicode operations that tokenizers are made of.
//
// Text inside the tokenizer is always valid UTF-8: valid_utf8() at the door, and every later step keeps it so.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pare {

// The code point that starts at `pos` of valid UTF-8; `pos` moves behind it.
char32_t next_code_point(std::string_view text, size_t& pos);
void append_utf8(std::string& text, char32_t code);
// Bytes of the UTF-8 sequence that begins with `lead` (valid text only).
constexpr size_t utf8_length(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

bool is_valid_utf8(std::string_view text);
// Each maximal invalid part becomes one U+FFFD, as Python's errors="replace" does it.
std::string replace_invalid_utf8(std::string_view text);

bool is_white_space(char32_t code);  // the Unicode property White_Space
bool is_word(char32_t code);         // \w of Rust's regex: letters, marks, decimal digits, connectors, joiners
size_t leading_white_space(std::string_view text);   // bytes
size_t trailing_white_space(std::string_view text);  // bytes

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };
std::string normalize_unicode(std::string_view text, UnicodeForm form);
std::string lowercase(std::string_view text);

}  // namespace pare
