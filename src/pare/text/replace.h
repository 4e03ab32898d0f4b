// The step "Replace" of tokenizer.json, which normalizers and decoders share.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "pare/text/json_part.h"
#include "pare/text/regex.h"

namespace pare {

class Replace {
 public:
  explicit Replace(const JsonPart& part);

  // `at_start`, where given: whether a match that begins the text was taken away.
  std::string apply(std::string_view text, bool* at_start = nullptr) const;

 private:
  std::string literal_;
  std::optional<Regex> regex_;  // instead of the literal
  std::string content_;
};

}  // namespace pare
