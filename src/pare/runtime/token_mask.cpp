#include "pare/runtime/token_mask.h"

#include <bit>
#include <limits>

#include "pare/runtime/json_grammar.h"

namespace pare {
namespace {

using Frame = ByteAutomaton::Frame;
using Stacks = ByteAutomaton::Stacks;

constexpr size_t kWorthKeeping = 500;          // nodes visited; fewer are walked again, in microseconds
constexpr size_t kMostKept_bytes = 32u << 20;  // of one grammar
constexpr uint64_t kMostSteps = 20'000'000;    // of one mask: a fraction of a second

class TrieWalk {
 public:
  TrieWalk(const ByteAutomaton& automaton, const VocabularyTrie& trie, Stacks& stacks, std::vector<uint64_t>& allowed)
      : automaton_(automaton), trie_(trie), stacks_(stacks), allowed_(allowed) {}

  // Of the trie's nodes [first, last), which are the whole of what is below a node of depth `depth`; from the readings
  // stacks.tops[0, tops).
  void run(size_t first, size_t last, uint32_t depth, size_t tops, std::vector<uint32_t>* leaves) {
    const auto nodes = trie_.nodes();
    levels_.assign(1, {0, tops, stacks_.below.size()});
    for (size_t i = first; i < last;) {
      const VocabularyTrie::Node& node = nodes[i];
      levels_.resize(node.depth - depth);
      const Level above = levels_.back();
      stacks_.tops.resize(above.tops_end);
      stacks_.below.resize(above.below_end);
      visits++;
      const auto [ended, left] = automaton_.advance(stacks_, above.tops_begin, above.tops_end, node.byte);
      const bool goes_on = stacks_.tops.size() > above.tops_end;
      if (!goes_on && !ended && !left) {
        i = node.skip;
        continue;
      }
      for (int32_t token : trie_.tokens_at(i)) allowed_[static_cast<size_t>(token) / 64] |= uint64_t{1} << token % 64;
      if (left && leaves && node.skip > i + 1) leaves->push_back(static_cast<uint32_t>(i));
      if (!goes_on) {
        i = node.skip;
        continue;
      }
      levels_.push_back({above.tops_end, stacks_.tops.size(), stacks_.below.size()});
      i++;
    }
  }

  size_t visits = 0;

 private:
  struct Level {
    size_t tops_begin, tops_end, below_end;
  };
  const ByteAutomaton& automaton_;
  const VocabularyTrie& trie_;
  Stacks& stacks_;
  std::vector<uint64_t>& allowed_;
  std::vector<Level> levels_;  // by depth: the readings after the byte there
};

std::shared_ptr<const MaskCache::Entry> entry_of(const Grammar& grammar, const VocabularyTrie& trie, Frame frame,
                                                 uint64_t& steps) {
  const ByteAutomaton& automaton = grammar.automaton();
  frame.count = automaton.count_class(frame, trie.longest());
  if (!automaton.may_open(frame.node)) frame.depth = 0;
  frame.parent = ByteAutomaton::kUnknown;
  const MaskCache::Key key{trie.identity(), frame.node, frame.count, frame.depth};
  if (auto known = grammar.cache().find(key)) return known;
  auto entry = std::make_shared<MaskCache::Entry>();
  entry->allowed.resize((trie.vocabulary() + 63) / 64);
  Stacks stacks;
  stacks.tops.push_back(frame);
  stacks.steps = steps;
  stacks.most_steps = kMostSteps;
  TrieWalk walk(automaton, trie, stacks, entry->allowed);
  walk.run(0, trie.nodes().size(), 0, 1, &entry->leaves);
  steps = stacks.steps;
  if (walk.visits >= kWorthKeeping) grammar.cache().keep(key, entry);
  return entry;
}

}  // namespace

size_t mask(const GrammarState& state, const VocabularyTrie& trie, std::span<float> logits) {
  const Grammar& grammar = state.grammar();
  const ByteAutomaton& automaton = grammar.automaton();
  std::vector<uint64_t> allowed((trie.vocabulary() + 63) / 64);
  uint64_t steps = 0;
  for (const Frame& top : state.tops()) {
    const auto entry = entry_of(grammar, trie, top, steps);
    for (size_t i = 0; i < allowed.size(); i++) allowed[i] |= entry->allowed[i];
    if (top.parent == ByteAutomaton::kRoot || entry->leaves.empty()) continue;
    Stacks stacks;
    stacks.below.assign(state.below().begin(), state.below().end());
    stacks.steps = steps;
    stacks.most_steps = kMostSteps;
    automaton.settle(stacks, stacks.below[top.parent], 0, stacks.below.size());
    const size_t tops = stacks.tops.size();
    TrieWalk walk(automaton, trie, stacks, allowed);
    for (uint32_t leaf : entry->leaves) {
      const VocabularyTrie::Node& node = trie.nodes()[leaf];
      walk.run(leaf + size_t{1}, node.skip, node.depth, tops, nullptr);
      stacks.tops.resize(tops);
    }
    steps = stacks.steps;
  }
  if (state.can_end()) {
    for (int32_t end : trie.ends()) {
      if (static_cast<size_t>(end) < trie.vocabulary()) {
        allowed[static_cast<size_t>(end) / 64] |= uint64_t{1} << end % 64;
      }
    }
  }
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  size_t left = 0;
  for (size_t begin = 0; begin < logits.size(); begin += 64) {
    const uint64_t word = begin / 64 < allowed.size() ? allowed[begin / 64] : 0;
    const size_t count = std::min<size_t>(64, logits.size() - begin);
    const uint64_t used = count == 64 ? word : word & ((uint64_t{1} << count) - 1);
    left += static_cast<size_t>(std::popcount(used));
    if (word == ~uint64_t{0}) continue;
    for (size_t i = 0; i < count; i++) logits[begin + i] = (word >> i & 1) ? logits[begin + i] : kNever;
  }
  return left;
}

std::shared_ptr<const MaskCache::Entry> MaskCache::find(const Key& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : found->second;
}

void MaskCache::keep(const Key& key, std::shared_ptr<const Entry> entry) {
  const size_t own = entry->allowed.size() * sizeof(uint64_t) + entry->leaves.size() * sizeof(uint32_t);
  const std::lock_guard lock(mutex_);
  if (bytes_ + own > kMostKept_bytes) {  // rare: begin anew
    entries_.clear();
    bytes_ = 0;
  }
  if (entries_.emplace(key, std::move(entry)).second) bytes_ += own;
}

}  // namespace pare
