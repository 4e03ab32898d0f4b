// Byte pair encoding: a word's characters, joined two by two, the pair of lowest rank first, leftmost on ties.
//
// A word of n characters takes O(n log n): a heap of candidate pairs over a doubly linked list. Text without a
// pre-tokenizer (SentencePiece) is one word of any length. Where no piece has a character other than "▁" before a "▁",
// no merge can cross such a place, so the word is cut there first: same tokens, and the cache of words then serves.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pare/text/vocabulary.h"

namespace pare {

struct BpeOptions {
  std::optional<std::string> unk_token = {};  // for a character without a piece; nothing: such characters vanish
  bool fuse_unk = false;                      // one unk for a run of them
  bool byte_fallback = false;  // <0xHH> for each byte of such a character, where all of these pieces exist
  bool ignore_merges = false;  // a word that is a piece is taken whole
};

using Merges = std::vector<std::pair<std::string, std::string>>;

class Bpe {
 public:
  // InputError naming `where` for merges whose parts or result are no pieces.
  Bpe(std::shared_ptr<const Vocabulary> vocabulary, const Merges& merges, BpeOptions options, std::string where);

  // Words seen before, with their tokens. One for each encode(): nothing is shared between threads.
  class Cache;
  void encode(std::string_view word, std::vector<int32_t>& tokens, Cache& cache) const;

  const BpeOptions& options() const { return options_; }
  const Vocabulary& vocabulary() const { return *vocabulary_; }
  Merges merges() const;  // in order of rank

 private:
  struct Merge {
    uint32_t rank = 0;
    int32_t result = 0;
  };
  struct Symbol {
    int32_t id;
    int32_t previous, next;  // -1: none; a symbol that was merged away has id -1
  };
  struct Candidate {
    uint32_t rank;
    int32_t position;
    int32_t result;
  };
  const Merge* find_merge(int32_t left, int32_t right) const;
  std::optional<int32_t> character_id(std::string_view character) const;
  void read_characters(std::string_view word, std::vector<Symbol>& symbols) const;
  void merge_all(std::vector<Symbol>& symbols, std::vector<Candidate>& heap) const;
  void encode_uncut(std::string_view word, std::vector<int32_t>& tokens, Cache& cache) const;

  std::shared_ptr<const Vocabulary> vocabulary_;
  BpeOptions options_;
  std::string where_;
  std::optional<int32_t> unk_;
  std::vector<std::optional<int32_t>> bytes_;  // <0x00> ... <0xFF>
  std::vector<int32_t> short_characters_;      // ids of code points below 0x800; -1: none
  bool cut_at_word_marks_ = false;
  // Open addressing, linear probing; key left << 32 | right, kNoPair where free
  std::vector<uint64_t> keys_;
  std::vector<Merge> values_;
};

class Bpe::Cache {
 private:
  friend class Bpe;
  std::unordered_map<std::string, std::vector<int32_t>> words;
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

}  // namespace pare
