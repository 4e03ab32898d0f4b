// Which tokens may come next in a text that follows a grammar.
//
// Every open reading is a stack; its top frame alone decides on nearly all tokens, whatever stands below it: inside of
// a string nearly everything is allowed and stays inside. So for a top frame the trie is walked once with an unknown
// parent, and kept are
//   allowed   a bit for each token that is accepted up to where the frame is left, or that stays in it
//   leaves    the places in the trie at which the frame is left and longer tokens go on   (   ",   "}   ": {   )
// and for a text the walk goes on from the leaves, with its real stack. Measured with 49k tokens (SmolLM2): see
// docs/structured-output.md.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <tuple>
#include <vector>

#include "pare/runtime/vocabulary_trie.h"

namespace pare {

class GrammarState;

// Sets the logits of all tokens that may not come next to -inf: those that the grammar forbids, special tokens and ids
// beyond the vocabulary. The trie's end tokens are left where the text may end. Gives the number of tokens left: 0 only
// when the vocabulary cannot spell any way on, which no vocabulary with a token for each byte does.
// ResourceError when a schema leaves too many readings open. From any number of threads.
size_t mask(const GrammarState& state, const VocabularyTrie& trie, std::span<float> logits);

// The walks that are worth keeping; in each grammar. Locks itself.
class MaskCache {
 public:
  struct Entry {
    std::vector<uint64_t> allowed;
    std::vector<uint32_t> leaves;
  };
  using Key = std::tuple<uint64_t, uint32_t, uint32_t, uint32_t>;  // trie, node, count, depth

  std::shared_ptr<const Entry> find(const Key& key) const;
  void keep(const Key& key, std::shared_ptr<const Entry> entry);

 private:
  mutable std::mutex mutex_;
  std::map<Key, std::shared_ptr<const Entry>> entries_;
  size_t bytes_ = 0;
};

}  // namespace pare
