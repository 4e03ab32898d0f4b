#include "pare/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <new>

#include "pare/base/error.h"
#include "pare/text/regex.h"
#include "pare/text/unicode_tables.h"

namespace pare {
namespace {

// Bytes of the valid sequence at the front of `text`, or 0 and in `skip` the bytes of the invalid part (Unicode 3.9,
// table 3-7: the longest start of a valid sequence counts as one part).
size_t valid_prefix(std::string_view text, size_t& skip) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  skip = 1;
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const size_t length = utf8_length(lead);
  for (size_t i = 1; i < length; i++) {
    if (i >= text.size()) return 0;
    unsigned char low = 0x80, high = 0xBF;
    if (i == 1 && lead == 0xE0) low = 0xA0;
    if (i == 1 && lead == 0xED) high = 0x9F;
    if (i == 1 && lead == 0xF0) low = 0x90;
    if (i == 1 && lead == 0xF4) high = 0x8F;
    if (byte(i) < low || byte(i) > high) return 0;
    skip = i + 1;
  }
  return length;
}

struct Free {
  void operator()(utf8proc_uint8_t* p) const { std::free(p); }
};

std::string normalize_chunk(std::string_view text, UnicodeForm form) {
  int options = UTF8PROC_STABLE;
  options |= form == UnicodeForm::nfc || form == UnicodeForm::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == UnicodeForm::nfkc || form == UnicodeForm::nfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* result = nullptr;
  const auto length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &result, static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, Free> owner(result);
  if (length == UTF8PROC_ERROR_NOMEM) throw std::bad_alloc();
  PARE_ASSERT(length >= 0);  // the text is valid UTF-8
  return std::string(reinterpret_cast<const char*>(result), static_cast<size_t>(length));
}

bool in_ranges(char32_t code, const CodeRange* begin, const CodeRange* end) {
  for (const CodeRange* range = begin; range != end; range++) {
    if (code < range->first) return false;
    if (code <= range->last) return true;
  }
  return false;
}

}  // namespace

char32_t next_code_point(std::string_view text, size_t& pos) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[pos + i])); };
  const char32_t lead = byte(0);
  const size_t length = utf8_length(static_cast<unsigned char>(lead));
  char32_t code = lead;
  if (length == 2) code = (lead & 0x1F) << 6 | (byte(1) & 0x3F);
  if (length == 3) code = (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
  if (length == 4) {
    code = (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  }
  pos += length;
  return code;
}

void append_utf8(std::string& text, char32_t code) {
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

bool is_valid_utf8(std::string_view text) {
  for (size_t pos = 0, skip = 0; pos < text.size();) {
    const size_t length = valid_prefix(text.substr(pos), skip);
    if (length == 0) return false;
    pos += length;
  }
  return true;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t pos = 0, skip = 0; pos < text.size();) {
    const size_t length = valid_prefix(text.substr(pos), skip);
    if (length == 0) {
      result += "\xEF\xBF\xBD";
      pos += skip;
    } else {
      result.append(text, pos, length);
      pos += length;
    }
  }
  return result;
}

bool is_white_space(char32_t code) {
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
         code == 0x3000;
}

bool is_word(char32_t code) {
  static const Regex word = Regex::pcre("^" + rust_word_class(), "\\w");
  std::string text;
  append_utf8(text, code);
  return word.find(text, 0).has_value();
}

size_t leading_white_space(std::string_view text) {
  size_t end = 0;
  while (end < text.size()) {
    size_t next = end;
    if (!is_white_space(next_code_point(text, next))) break;
    end = next;
  }
  return end;
}

size_t trailing_white_space(std::string_view text) {
  size_t begin = text.size();
  while (begin > 0) {
    size_t start = begin - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) start--;
    size_t pos = start;
    if (!is_white_space(next_code_point(text, pos))) break;
    begin = start;
  }
  return text.size() - begin;
}

std::string normalize_unicode(std::string_view text, UnicodeForm form) {
  // Characters that the reference's older tables do not know take no part: they stand between separate texts.
  std::string result;
  size_t begin = 0;
  for (size_t pos = 0; pos < text.size();) {
    const size_t start = pos;
    const char32_t code = next_code_point(text, pos);
    if (code < 0x800 || !in_ranges(code, std::begin(kNotNormalized), std::end(kNotNormalized))) continue;
    result += normalize_chunk(text.substr(begin, start - begin), form);
    result.append(text, start, pos - start);
    begin = pos;
  }
  if (begin == 0) return normalize_chunk(text, form);
  return result + normalize_chunk(text.substr(begin), form);
}

std::string lowercase(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    const char32_t code = next_code_point(text, pos);
    if (code == 0x130) {
      result += "i\xCC\x87";  // the only character whose lower case is two
    } else if (const auto known = std::find_if(std::begin(kLowerCase), std::end(kLowerCase),
                                               [&](const LowerCase& entry) { return entry.code == code; });
               code >= kLowerCase[0].code && known != std::end(kLowerCase)) {
      append_utf8(result, known->lower);
    } else {
      append_utf8(result, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
    }
  }
  return result;
}

}  // namespace pare
