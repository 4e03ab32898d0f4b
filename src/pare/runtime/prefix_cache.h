// What the model remembers of sequences that have ended, kept for prompts that begin the same way.
//
// Entries are whole sequences, the least recently used thrown away first. A prompt begins from the longest common
// prefix, token by token: a fork of an entry, or the entry itself when the prompt goes on where it ends (the next turn
// of a chat). An entry that begins another entry is of no use beside it and is not kept.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "pare/runtime/language_model.h"

namespace pare {

int64_t common_prefix(std::span<const int32_t> a, std::span<const int32_t> b);  // tokens

class PrefixCache {
 public:
  using State = LanguageModel::State;

  // `tokens` are those that `state` holds.
  void insert(std::vector<int32_t> tokens, std::unique_ptr<State> state);
  int64_t longest(std::span<const int32_t> prompt) const;  // tokens of the best entry's common prefix
  // A state of the first `length` <= longest(prompt) tokens; counts as a use. The cache and the new state together stay
  // within `allowed_bytes`: others are dropped, and at last the entry itself is cut and given away.
  std::unique_ptr<State> begin(std::span<const int32_t> prompt, int64_t length, uint64_t allowed_bytes);

  bool drop_oldest();  // false: nothing to drop
  void clear();
  uint64_t bytes() const { return bytes_; }
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::vector<int32_t> tokens;
    std::unique_ptr<State> state;
  };
  std::list<Entry>::iterator erase(std::list<Entry>::iterator entry);

  std::list<Entry> entries_;  // the most recently used first
  uint64_t bytes_ = 0;        // of all entries
};

}  // namespace pare
