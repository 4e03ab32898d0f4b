// What all tokenizers in GGUF metadata share: the list of tokens, their types, ids of special ones.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pare/io/gguf.h"

namespace pare {

struct GgufTokens {
  static constexpr const char* kWordMark = "\xE2\x96\x81";  // U+2581: where a space was
  // tokenizer.ggml.token_type; user defined ones are found in the raw text.
  enum Type : int64_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

  std::vector<std::string> text;
  std::vector<int64_t> types;  // [text]; all normal where the file does not say

  // InputError for a list that is empty, too long or not UTF-8, and for types that are not one a token.
  static GgufTokens of(const GgufFile& file);
};

std::string gguf_place(const GgufFile& file, const std::string& key);  // for messages
// InputError for a value of another type.
bool gguf_flag(const GgufFile& file, const std::string& key, bool otherwise);
// A list of numbers of any type; empty when the key is absent.
std::vector<double> gguf_numbers(const GgufFile& file, const std::string& key);
// The id under `key`, checked against the number of tokens; nothing when absent or given as none.
std::optional<int64_t> gguf_token_id(const GgufFile& file, const std::string& key, size_t tokens);

}  // namespace pare
