// What is done to a text before it is cut into words: Unicode forms, replacements, the "▁" of SentencePiece.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "pare/text/json_part.h"
#include "pare/text/replace.h"
#include "pare/text/unicode.h"

namespace pare {

class Normalizer {
 public:
  Normalizer() = default;                     // leaves the text alone
  explicit Normalizer(const JsonPart& part);  // null: the same

  bool empty() const { return steps_.empty(); }
  // `from_start`: whether the text begins where the whole input begins; false when that beginning is taken away.
  std::string apply(std::string text, bool& from_start) const;

 private:
  struct Prepend {
    std::string text;
  };
  struct Lowercase {};
  struct Strip {
    bool left = false, right = false;
  };
  struct ByteLevel {};
  using Step = std::variant<Prepend, Replace, UnicodeForm, Lowercase, Strip, ByteLevel>;

  static Step read_step(const JsonPart& part);
  std::vector<Step> steps_;
};

}  // namespace pare
