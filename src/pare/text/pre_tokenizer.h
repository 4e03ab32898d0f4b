// Cuts a normalized text into the words that BPE works on.
//
// The words are ranges of one text, which steps such as ByteLevel and Metaspace rewrite as a whole.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "pare/text/json_part.h"
#include "pare/text/regex.h"

namespace pare {

struct Words {
  std::string text;
  std::vector<TextRange> ranges;  // none empty
  bool from_start = false;        // whether the first range begins where the whole input begins
};

class PreTokenizer {
 public:
  PreTokenizer() = default;                     // one word
  explicit PreTokenizer(const JsonPart& part);  // null: the same

  Words apply(std::string text, bool from_start) const;

 private:
  enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };
  enum class PrependScheme { first, never, always };
  struct ByteLevel {
    bool add_prefix_space = true;
    std::optional<Regex> regex;
  };
  struct Split {
    std::string literal;
    std::optional<Regex> regex;
    Behavior behavior = Behavior::isolated;
    bool invert = false;
  };
  struct Metaspace {
    std::string replacement;
    PrependScheme prepend = PrependScheme::always;
    bool split = true;
  };
  using Step = std::variant<ByteLevel, Split, Metaspace>;

  static Step read_step(const JsonPart& part);
  static Behavior read_behavior(const JsonPart& part);
  static void split(Words& words, const Split& split);
  static void byte_level(Words& words, const ByteLevel& step);
  static void metaspace(Words& words, const Metaspace& step);
  static void append_pieces(std::vector<TextRange>& ranges, std::vector<Cut> cuts, size_t offset, Behavior behavior,
                            bool invert);

  std::vector<Step> steps_;
};

// GPT-2's own pattern, which ByteLevel applies unless told otherwise.
inline constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace pare
