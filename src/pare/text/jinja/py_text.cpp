#include "pare/text/jinja/py_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace pare::jinja {
namespace {

char32_t code_at(std::string_view text, size_t pos) {
  return next_code_point(text, pos);
}

size_t previous_start(std::string_view text, size_t end) {
  do end--;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80);
  return end;
}

utf8proc_category_t category(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

// The characters whose upper case is several, of those that a text in a living language may hold.
std::string_view long_upper(char32_t code) {
  switch (code) {
    case 0x00DF:
      return "SS";
    case 0x0149:
      return "\u02BCN";
    case 0x01F0:
      return "J\u030C";
    case 0x0587:
      return "\u0535\u0552";
    case 0xFB00:
      return "FF";
    case 0xFB01:
      return "FI";
    case 0xFB02:
      return "FL";
    case 0xFB03:
      return "FFI";
    case 0xFB04:
      return "FFL";
    case 0xFB05:
    case 0xFB06:
      return "ST";
    default:
      return {};
  }
}

void append_title(std::string& result, char32_t code) {
  const std::string_view several = long_upper(code);
  if (several.empty()) {
    append_utf8(result, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code))));
  } else {  // "Ss": the first keeps its size
    size_t pos = 0;
    append_utf8(result, next_code_point(several, pos));
    result += lowercase(several.substr(pos));
  }
}

bool is_cased(char32_t code) {
  const auto kind = category(code);
  return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL || kind == UTF8PROC_CATEGORY_LT;
}

bool is_case_ignorable(char32_t code) {
  switch (category(code)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return code == '\'' || code == '.' || code == ':' || code == 0xB7 || code == 0x2019;
  }
}

bool is_printable(char32_t code) {
  switch (category(code)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return code == ' ';
    default:
      return true;
  }
}

bool is_line_end(char32_t code) {
  return (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 || code == 0x2028 ||
         code == 0x2029;
}

bool all_of_case(std::string_view text, utf8proc_category_t wanted, utf8proc_category_t other) {
  bool any = false;
  for (size_t pos = 0; pos < text.size();) {
    const auto kind = category(next_code_point(text, pos));
    if (kind == other || kind == UTF8PROC_CATEGORY_LT) return false;
    any = any || kind == wanted;
  }
  return any;
}

}  // namespace

bool is_space(char32_t code) {
  return (code >= 0x1C && code <= 0x1F) || is_white_space(code);
}

size_t code_points(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

size_t byte_of(std::string_view text, size_t code_point) {
  size_t pos = 0;
  while (code_point-- > 0 && pos < text.size()) pos += utf8_length(static_cast<unsigned char>(text[pos]));
  return pos;
}

std::string_view strip(std::string_view text, std::optional<std::string_view> chars, bool left, bool right) {
  const auto taken = [&](std::string_view character) {
    return chars ? chars->find(character) != std::string_view::npos : is_space(code_at(character, 0));
  };
  size_t begin = 0, end = text.size();
  while (left && begin < end) {
    const size_t bytes = utf8_length(static_cast<unsigned char>(text[begin]));
    if (!taken(text.substr(begin, bytes))) break;
    begin += bytes;
  }
  while (right && begin < end) {
    const size_t start = previous_start(text, end);
    if (!taken(text.substr(start, end - start))) break;
    end = start;
  }
  return text.substr(begin, end - begin);
}

std::vector<std::string> split(std::string_view text, std::optional<std::string_view> separator, int64_t most) {
  std::vector<std::string> parts;
  const auto full = [&] { return most >= 0 && static_cast<int64_t>(parts.size()) >= most; };
  if (separator) {
    size_t from = 0;
    for (size_t at = 0; !full() && (at = find_text(text, *separator, from)) != std::string_view::npos;) {
      parts.emplace_back(text.substr(from, at - from));
      from = at + separator->size();
    }
    parts.emplace_back(text.substr(from));
    return parts;
  }
  while (true) {
    text = strip(text, std::nullopt, true, false);
    if (text.empty()) return parts;
    if (full()) {  // the rest as it is, but for white space at its end
      parts.emplace_back(strip(text, std::nullopt, false, true));
      return parts;
    }
    size_t end = 0;
    while (end < text.size() && !is_space(code_at(text, end))) {
      end += utf8_length(static_cast<unsigned char>(text[end]));
    }
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

std::vector<std::string> split_from_right(std::string_view text, std::optional<std::string_view> separator,
                                          int64_t most) {
  std::vector<std::string> parts;
  if (separator) {
    const std::string mirrored(text.rbegin(), text.rend()), mirrored_separator(separator->rbegin(), separator->rend());
    parts = split(mirrored, mirrored_separator, most);
    for (std::string& part : parts) std::reverse(part.begin(), part.end());
  } else {
    while (!(text = strip(text, std::nullopt, false, true)).empty()) {
      if (most >= 0 && static_cast<int64_t>(parts.size()) >= most) {
        parts.emplace_back(text);  // with the white space that it begins with
        break;
      }
      size_t start = text.size();
      while (start > 0 && !is_space(code_at(text, previous_start(text, start)))) start = previous_start(text, start);
      parts.emplace_back(text.substr(start));
      text = text.substr(0, start);
    }
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t pos = 0; pos < text.size();) {
    const size_t end = pos;
    const char32_t code = next_code_point(text, pos);
    if (!is_line_end(code)) continue;
    if (code == '\r' && pos < text.size() && text[pos] == '\n') pos++;
    lines.emplace_back(text.substr(begin, (keep_ends ? pos : end) - begin));
    begin = pos;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

size_t find_text(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (part.empty()) return from;
  // memmem is linear; string_view::find takes the product of the lengths on a text made for it
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return found == nullptr ? std::string_view::npos : static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

size_t find_last_text(std::string_view text, std::string_view part) {
  if (part.empty()) return text.size();
  const std::string reversed_text(text.rbegin(), text.rend()), reversed_part(part.rbegin(), part.rend());
  const size_t found = find_text(reversed_text, reversed_part);
  return found == std::string_view::npos ? found : text.size() - found - part.size();
}

size_t count_text(std::string_view text, std::string_view part) {
  if (part.empty()) return code_points(text) + 1;
  size_t count = 0;
  for (size_t at = find_text(text, part); at != std::string_view::npos; at = find_text(text, part, at + part.size())) {
    count++;
  }
  return count;
}

std::string replace_text(std::string_view text, std::string_view old, std::string_view with, int64_t most) {
  std::string result;
  size_t from = 0;
  if (old.empty()) {  // before each character and at the end
    for (; most != 0; most--) {
      result += with;
      if (from >= text.size()) return result;
      const size_t bytes = utf8_length(static_cast<unsigned char>(text[from]));
      result += text.substr(from, bytes);
      from += bytes;
    }
    return result.append(text.substr(from));
  }
  for (size_t at = 0; most != 0 && (at = find_text(text, old, from)) != std::string_view::npos; most--) {
    result.append(text.substr(from, at - from)).append(with);
    from = at + old.size();
  }
  return result.append(text.substr(from));
}

std::string upper(std::string_view text) {
  std::string result;
  for (size_t pos = 0; pos < text.size();) {
    const char32_t code = next_code_point(text, pos);
    const std::string_view several = long_upper(code);
    if (several.empty()) {
      append_utf8(result, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code))));
    } else {
      result += several;
    }
  }
  return result;
}

// As Unicode has it, also for the sigma that ends a word.
std::string lower(std::string_view text) {
  std::string result;
  size_t from = 0;
  const std::string_view sigma = "\u03A3";
  for (size_t at = text.find(sigma); at != std::string_view::npos; at = text.find(sigma, from)) {
    size_t before = at, after = at + sigma.size();
    bool cased_before = false, cased_after = false;
    while (before > 0 && is_case_ignorable(code_at(text, previous_start(text, before)))) {
      before = previous_start(text, before);
    }
    if (before > 0) cased_before = is_cased(code_at(text, previous_start(text, before)));
    while (after < text.size() && is_case_ignorable(code_at(text, after))) {
      after += utf8_length(static_cast<unsigned char>(text[after]));
    }
    if (after < text.size()) cased_after = is_cased(code_at(text, after));
    result += lowercase(text.substr(from, at - from));
    result += cased_before && !cased_after ? "\u03C2" : "\u03C3";
    from = at + sigma.size();
  }
  return result + lowercase(text.substr(from));
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return "";
  std::string result;
  size_t pos = 0;
  append_title(result, next_code_point(text, pos));
  return result + lower(text.substr(pos));
}

std::string title(std::string_view text) {
  std::string result;
  bool inside = false;  // a word
  for (size_t pos = 0; pos < text.size();) {
    const size_t start = pos;
    const char32_t code = next_code_point(text, pos);
    if (inside) {
      result += lowercase(text.substr(start, pos - start));
    } else {
      append_title(result, code);
    }
    inside = is_cased(code);
  }
  return result;
}

bool is_upper(std::string_view text) {
  return all_of_case(text, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LL);
}

bool is_lower(std::string_view text) {
  return all_of_case(text, UTF8PROC_CATEGORY_LL, UTF8PROC_CATEGORY_LU);
}

bool is_alpha(char32_t code) {
  const auto kind = category(code);
  return is_cased(code) || kind == UTF8PROC_CATEGORY_LM || kind == UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t code) {
  return category(code) == UTF8PROC_CATEGORY_ND;
}

std::string repr_text(std::string_view text) {
  const bool single = text.find('\'') != std::string_view::npos, twofold = text.find('"') != std::string_view::npos;
  const char quote = single && !twofold ? '"' : '\'';
  std::string result(1, quote);
  for (size_t pos = 0; pos < text.size();) {
    const char32_t code = next_code_point(text, pos);
    char escaped[16] = "";
    if (code == static_cast<char32_t>(quote) || code == '\\') {
      result += '\\';
    } else if (code == '\n' || code == '\t' || code == '\r') {
      std::snprintf(escaped, sizeof escaped, "\\%c", code == '\n' ? 'n' : code == '\t' ? 't' : 'r');
    } else if (!is_printable(code)) {
      const char* format = code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x";
      std::snprintf(escaped, sizeof escaped, format, static_cast<unsigned>(code));
    }
    if (escaped[0] != '\0') {
      result += escaped;
    } else {
      append_utf8(result, code);
    }
  }
  return result + quote;
}

}  // namespace pare::jinja
