#include "pare/text/gguf_tokens.h"

#include "pare/base/error.h"
#include "pare/text/unicode.h"
#include "pare/text/vocabulary.h"

namespace pare {

std::string gguf_place(const GgufFile& file, const std::string& key) {
  return file.path().string() + ": " + key;
}

bool gguf_flag(const GgufFile& file, const std::string& key, bool otherwise) {
  const auto found = file.header().metadata.find(key);
  if (found == file.header().metadata.end()) return otherwise;
  if (const bool* value = std::get_if<bool>(&found->second)) return *value;
  throw InputError(gguf_place(file, key) + ": expected true or false");
}

std::vector<double> gguf_numbers(const GgufFile& file, const std::string& key) {
  const auto found = file.header().metadata.find(key);
  if (found == file.header().metadata.end()) return {};
  const auto* array = std::get_if<GgufArray>(&found->second);
  std::vector<double> result;
  if (array != nullptr) {
    const auto take = [&](const auto& items) {
      for (const auto item : items) result.push_back(static_cast<double>(item));
      return true;
    };
    if (const auto* a = std::get_if<std::vector<int64_t>>(&array->items)) take(*a);
    if (const auto* b = std::get_if<std::vector<uint64_t>>(&array->items)) take(*b);
    if (const auto* c = std::get_if<std::vector<double>>(&array->items)) take(*c);
  }
  if (array == nullptr || result.empty()) throw InputError(gguf_place(file, key) + ": expected a list of numbers");
  return result;
}

std::optional<int64_t> gguf_token_id(const GgufFile& file, const std::string& key, size_t tokens) {
  if (!file.has(key)) return std::nullopt;
  const int64_t id = file.integer(key);
  if (id == 0xFFFFFFFF || id == -1) return std::nullopt;  // writers' way to say none
  if (id < 0 || id >= static_cast<int64_t>(tokens)) {
    throw InputError(gguf_place(file, key) + ": id " + std::to_string(id) + ", but there are " +
                     std::to_string(tokens) + " tokens");
  }
  return id;
}

GgufTokens GgufTokens::of(const GgufFile& file) {
  GgufTokens tokens;
  tokens.text = file.texts("tokenizer.ggml.tokens");
  const std::string where = gguf_place(file, "tokenizer.ggml.tokens");
  if (tokens.text.empty()) throw InputError(where + ": no tokens");
  if (static_cast<int64_t>(tokens.text.size()) > kMostTokens) {
    throw InputError(where + ": " + std::to_string(tokens.text.size()) + " tokens; at most " +
                     std::to_string(kMostTokens) + " are taken");
  }
  for (size_t i = 0; i < tokens.text.size(); i++) {
    if (!is_valid_utf8(tokens.text[i])) throw InputError(where + ": token " + std::to_string(i) + " is not UTF-8");
  }
  const auto types = gguf_numbers(file, "tokenizer.ggml.token_type");
  if (types.empty()) {
    tokens.types.assign(tokens.text.size(), normal);
    return tokens;
  }
  if (types.size() != tokens.text.size()) {
    throw InputError(gguf_place(file, "tokenizer.ggml.token_type") + ": " + std::to_string(types.size()) +
                     " types for " + std::to_string(tokens.text.size()) + " tokens");
  }
  for (size_t i = 0; i < types.size(); i++) {
    if (!(types[i] >= 0 && types[i] <= 6)) {
      throw InputError(gguf_place(file, "tokenizer.ggml.token_type") + ": token " + std::to_string(i) + " has type " +
                       std::to_string(types[i]) + "; expected 0 to 6");
    }
    tokens.types.push_back(types[i] == 0 ? normal : static_cast<int64_t>(types[i]));
  }
  return tokens;
}

}  // namespace pare
