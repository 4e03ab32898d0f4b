// Tokens that are found in the text as they are written, before anything else cuts it: <|im_start|>, <s>, ...
//
// Leftmost, then longest. Those that are not `normalized` are looked for in the raw text, the others afterwards in the
// normalized text between them, in their normalized spelling.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pare/text/normalizer.h"
#include "pare/text/vocabulary.h"

namespace pare {

struct AddedToken {
  int64_t id = 0;  // as in the file
  std::string content;
  bool single_word = false;  // not beside a word character
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and behind it
  bool normalized = true;
  bool special = false;
};

class AddedTokens {
 public:
  // Ids are given as the reference does it: that of the vocabulary for a content it has, else the next ones behind it.
  // A file that says otherwise gets a warning.
  AddedTokens(std::vector<AddedToken> tokens, const Vocabulary& vocabulary, const Normalizer& normalizer,
              const std::string& where);

  struct Piece {
    TextRange range;
    std::optional<int32_t> token;
  };
  enum class Pass { raw, normalized };
  std::vector<Piece> cut(std::string_view text, Pass pass) const;

  const AddedToken* find(int32_t id) const;
  std::optional<int32_t> id(std::string_view content) const;
  const std::string& decoded(const AddedToken& token) const;  // its spelling for the decoder: the normalized one
  int64_t end() const { return end_; }                        // one past the largest id
  const std::vector<AddedToken>& all() const { return tokens_; }

 private:
  // A trie over bytes: children by node << 8 | byte.
  struct Trie {
    std::unordered_map<uint64_t, uint32_t> children;
    std::vector<int32_t> token{-1};  // index of the token that ends at this node
    bool first_byte[256] = {};

    void add(std::string_view text, int32_t index, const std::string& where);
    // Length and token of the longest match at the front of `text`.
    std::optional<std::pair<size_t, int32_t>> match(std::string_view text) const;
  };

  std::vector<AddedToken> tokens_;
  std::vector<std::string> normalized_;  // spelling of each
  std::unordered_map<int32_t, size_t> by_id_;
  std::unordered_map<std::string, size_t> by_content_;
  Trie raw_, normalized_trie_;
  int64_t end_ = 0;
};

}  // namespace pare
