// What Python's str does, on valid UTF-8: positions and lengths count code points.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pare/text/unicode.h"

namespace pare::jinja {

bool is_space(char32_t code);  // str.isspace: also the separators U+001C to U+001F
size_t code_points(std::string_view text);
// Byte where the code point of this number starts; the end for the number of code points and beyond.
size_t byte_of(std::string_view text, size_t code_point);

// `chars`: the characters to take away; nothing: white space.
std::string_view strip(std::string_view text, std::optional<std::string_view> chars, bool left, bool right);
// `most`: of cuts, -1 for any number. No separator: runs of white space, none of them at the ends.
std::vector<std::string> split(std::string_view text, std::optional<std::string_view> separator, int64_t most);
std::vector<std::string> split_from_right(std::string_view text, std::optional<std::string_view> separator,
                                          int64_t most);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);
// First and last byte where `part` is found, in linear time; npos.
size_t find_text(std::string_view text, std::string_view part, size_t from = 0);
size_t find_last_text(std::string_view text, std::string_view part);
size_t count_text(std::string_view text, std::string_view part);
std::string replace_text(std::string_view text, std::string_view old, std::string_view with, int64_t most);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string title(std::string_view text);
bool is_upper(std::string_view text);  // some cased character, and none of the other case
bool is_lower(std::string_view text);
bool is_alpha(char32_t code);
bool is_decimal(char32_t code);

// repr(text): with the quotes that Python chooses and its escapes.
std::string repr_text(std::string_view text);

}  // namespace pare::jinja
