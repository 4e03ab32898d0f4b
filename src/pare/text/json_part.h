// Reading one part of tokenizer.json (a normalizer, a decoder, ...): typed access whose errors name the place.
#pragma once

#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace pare {

struct JsonPart {
  const nlohmann::json& json;
  std::string where;  // "tokenizer.json: pre_tokenizer: pretokenizers[1]"

  // Checks that this is an object with a "type"; gives it.
  std::string type() const;
  // UnsupportedError for a key that is none of these (or "type").
  void only_keys(std::initializer_list<const char*> known) const;
  [[noreturn]] void unknown_type(const std::string& known) const;

  bool flag(const char* key, std::optional<bool> otherwise = std::nullopt) const;
  std::string text(const char* key) const;
  std::optional<std::string> text_or_null(const char* key) const;  // absent and null give nothing
  size_t count(const char* key) const;
  // This value itself as an integer of 0 to `most`.
  int64_t integer(int64_t most) const;
  JsonPart part(const char* key) const;  // any type; InputError when absent
  JsonPart item(size_t index) const;     // of an array
  size_t items(const char* what) const;  // InputError unless this is an array
};

// {"String": s} or {"Regex": r}.
struct JsonPattern {
  std::string text;
  bool regex = false;
};
JsonPattern read_pattern(const JsonPart& part);

// "Sequence" nests any of normalizers, pre-tokenizers, decoders, processors: calls `step` for each leaf in order.
template <class Step>
void for_each_step(const JsonPart& part, const char* list_key, const Step& step) {
  if (part.type() != "Sequence") {
    step(part);
    return;
  }
  part.only_keys({list_key});
  const JsonPart list = part.part(list_key);
  const size_t count = list.items("a list");
  for (size_t i = 0; i < count; i++) for_each_step(list.item(i), list_key, step);
}

}  // namespace pare
