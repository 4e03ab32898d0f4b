// The tokens of a vocabulary by their bytes, so that a grammar visits a common beginning once and leaves at the first
// byte that it does not allow.
//
//   nodes in preorder:   "   ""  ",  ",\n  a  ab  abc  ac ...      skip: the next node that is not below this one
//
// Special tokens (<|im_end|>, <s>) stand for no text and are in it only as end tokens.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pare/text/tokenizer.h"

namespace pare {

class VocabularyTrie {
 public:
  struct Node {
    uint32_t skip = 0;         // index of the next node that is not below this one
    uint32_t first_token = 0;  // of tokens(): its own begin here and end where those of the next node begin
    uint32_t depth = 0;        // bytes from the root; the root is not a node
    uint8_t byte = 0;
  };

  // `bytes` by id; empty for what is never text. `ends`: the tokens that end a text.
  VocabularyTrie(const std::vector<std::string>& bytes, std::span<const int32_t> ends);
  static VocabularyTrie of(const Tokenizer& tokenizer, std::span<const int32_t> ends);

  size_t vocabulary() const { return offsets_.size() - 1; }
  std::string_view bytes(int32_t id) const {  // what the token adds to the text; empty out of range
    const auto i = static_cast<size_t>(id);
    if (id < 0 || i >= vocabulary()) return {};
    return std::string_view(text_).substr(offsets_[i], offsets_[i + 1] - offsets_[i]);
  }
  std::span<const int32_t> ends() const { return ends_; }
  bool is_end(int32_t id) const;

  std::span<const Node> nodes() const { return {nodes_.data(), nodes_.size() - 1}; }  // one more stands behind them
  std::span<const int32_t> tokens_at(size_t node) const {
    return {tokens_.data() + nodes_[node].first_token, nodes_[node + 1].first_token - nodes_[node].first_token};
  }
  uint32_t longest() const { return longest_; }    // token, in bytes
  uint64_t identity() const { return identity_; }  // another for each trie that is made

 private:
  std::string text_;
  std::vector<uint32_t> offsets_;
  std::vector<int32_t> ends_;
  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;
  uint32_t longest_ = 0;
  uint64_t identity_ = 0;
};

}  // namespace pare
