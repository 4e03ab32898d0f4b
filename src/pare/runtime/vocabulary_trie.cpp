#include "pare/runtime/vocabulary_trie.h"

#include <algorithm>
#include <atomic>

#include "pare/base/error.h"

namespace pare {

VocabularyTrie::VocabularyTrie(const std::vector<std::string>& bytes, std::span<const int32_t> ends)
    : ends_(ends.begin(), ends.end()) {
  static std::atomic<uint64_t> made{0};
  identity_ = ++made;
  std::sort(ends_.begin(), ends_.end());
  offsets_.push_back(0);
  uint64_t total = 0;
  for (const std::string& token : bytes) total += token.size();
  if (total >= ~uint32_t{0}) throw UnsupportedError("the vocabulary: its tokens have more than 4 GiB of text");
  text_.reserve(total);
  for (size_t id = 0; id < bytes.size(); id++) {
    text_ += bytes[id];
    offsets_.push_back(static_cast<uint32_t>(text_.size()));
    if (bytes[id].empty() || is_end(static_cast<int32_t>(id))) continue;
    tokens_.push_back(static_cast<int32_t>(id));
    longest_ = std::max(longest_, static_cast<uint32_t>(bytes[id].size()));
  }
  std::sort(tokens_.begin(), tokens_.end(), [&](int32_t a, int32_t b) {
    const int order = this->bytes(a).compare(this->bytes(b));
    return order != 0 ? order < 0 : a < b;
  });

  // In this order the nodes of each token come behind those it shares with the token before
  std::vector<uint32_t> path;
  std::string_view before;
  const auto close = [&](size_t depth) {
    while (path.size() > depth) {
      nodes_[path.back()].skip = static_cast<uint32_t>(nodes_.size());
      path.pop_back();
    }
  };
  for (uint32_t i = 0; i < tokens_.size(); i++) {
    const std::string_view token = this->bytes(tokens_[i]);
    const auto common = std::mismatch(before.begin(), before.end(), token.begin(), token.end()).first - before.begin();
    close(static_cast<size_t>(common));
    for (size_t pos = path.size(); pos < token.size(); pos++) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back(
          {.first_token = i, .depth = static_cast<uint32_t>(pos + 1), .byte = static_cast<uint8_t>(token[pos])});
    }
    before = token;
  }
  close(0);
  nodes_.push_back({.first_token = static_cast<uint32_t>(tokens_.size())});
}

VocabularyTrie VocabularyTrie::of(const Tokenizer& tokenizer, std::span<const int32_t> ends) {
  std::vector<std::string> bytes(static_cast<size_t>(tokenizer.vocab_size()));
  for (size_t i = 0; i < bytes.size(); i++) {
    const auto id = static_cast<int32_t>(i);
    if (!tokenizer.is_special(id)) bytes[i] = tokenizer.token_bytes(id);
  }
  return {bytes, ends};
}

bool VocabularyTrie::is_end(int32_t id) const {
  return std::binary_search(ends_.begin(), ends_.end(), id);
}

}  // namespace pare
