#include "pare/text/bpe.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "pare/base/error.h"
#include "pare/base/random.h"
#include "pare/text/unicode.h"

namespace pare {
namespace {

constexpr uint64_t kNoPair = std::numeric_limits<uint64_t>::max();
constexpr size_t kCachedWords = 1 << 16;
constexpr size_t kCachedLength_bytes = 256;
constexpr std::string_view kWordMark = "\xE2\x96\x81";  // U+2581

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// Whether a word mark stands behind something else.
bool has_inner_mark(std::string_view piece) {
  size_t at = 0;
  while (piece.substr(at, kWordMark.size()) == kWordMark) at += kWordMark.size();
  return piece.find(kWordMark, at) != std::string_view::npos;
}

std::string byte_piece(unsigned byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">";
}

}  // namespace

Bpe::Bpe(std::shared_ptr<const Vocabulary> vocabulary, const Merges& merges, BpeOptions options, std::string where)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)), where_(std::move(where)) {
  if (options_.unk_token) unk_ = vocabulary_->id(*options_.unk_token);
  if (options_.byte_fallback) {
    for (unsigned byte = 0; byte < 256; byte++) bytes_.push_back(vocabulary_->id(byte_piece(byte)));
  }
  short_characters_.assign(0x800, -1);
  for (char32_t code = 0; code < 0x800; code++) {
    std::string text;
    append_utf8(text, code);
    short_characters_[code] = vocabulary_->id(text).value_or(-1);
  }
  const size_t size = std::bit_ceil(std::max<size_t>(16, merges.size() * 2));
  keys_.assign(size, kNoPair);
  values_.assign(size, {});
  cut_at_word_marks_ = !options_.ignore_merges && vocabulary_->id(kWordMark).has_value();
  std::string joined;
  for (size_t rank = 0; rank < merges.size(); rank++) {
    const std::string& left = merges[rank].first;
    const std::string& right = merges[rank].second;
    joined.assign(left).append(right);
    const auto id = [&](const std::string& piece) {
      const auto found = vocabulary_->id(piece);
      if (!found) {
        throw InputError(where_ + ": merge " + std::to_string(rank) + ", \"" + left + "\" + \"" + right + "\": \"" +
                         piece + "\" is not in the vocabulary");
      }
      return *found;
    };
    const uint64_t key = pair_key(id(left), id(right));
    if (cut_at_word_marks_ && has_inner_mark(joined)) cut_at_word_marks_ = false;
    size_t slot = mix64(key) & (size - 1);
    while (keys_[slot] != kNoPair && keys_[slot] != key) slot = (slot + 1) & (size - 1);
    keys_[slot] = key;
    values_[slot] = {static_cast<uint32_t>(rank), id(joined)};  // the last of two equal merges counts
  }
}

const Bpe::Merge* Bpe::find_merge(int32_t left, int32_t right) const {
  const uint64_t key = pair_key(left, right);
  const size_t mask = keys_.size() - 1;
  for (size_t slot = mix64(key) & mask;; slot = (slot + 1) & mask) {
    if (keys_[slot] == key) return &values_[slot];
    if (keys_[slot] == kNoPair) return nullptr;
  }
}

Merges Bpe::merges() const {
  std::vector<std::pair<uint32_t, uint64_t>> order;
  for (size_t slot = 0; slot < keys_.size(); slot++) {
    if (keys_[slot] != kNoPair) order.emplace_back(values_[slot].rank, keys_[slot]);
  }
  std::sort(order.begin(), order.end());
  Merges merges;
  merges.reserve(order.size());
  for (const auto& [rank, key] : order) {
    merges.emplace_back(*vocabulary_->piece(static_cast<int32_t>(key >> 32)),
                        *vocabulary_->piece(static_cast<int32_t>(key & 0xFFFFFFFF)));
  }
  return merges;
}

std::optional<int32_t> Bpe::character_id(std::string_view character) const {
  if (character.size() > 2) return vocabulary_->id(character);
  size_t pos = 0;
  const int32_t id = short_characters_[next_code_point(character, pos)];
  return id < 0 ? std::nullopt : std::optional(id);
}

void Bpe::read_characters(std::string_view word, std::vector<Symbol>& symbols) const {
  symbols.clear();
  const auto add = [&](int32_t id) {
    const auto at = static_cast<int32_t>(symbols.size());
    if (at > 0) symbols.back().next = at;
    symbols.push_back({id, at - 1, -1});
  };
  bool unk_waits = false;  // an unk that is added when the run of unknown characters has ended
  for (size_t pos = 0; pos < word.size();) {
    const size_t length = utf8_length(static_cast<unsigned char>(word[pos]));
    const std::string_view character = word.substr(pos, length);
    pos += length;
    if (const auto id = character_id(character)) {
      if (unk_waits) add(*unk_);
      unk_waits = false;
      add(*id);
      continue;
    }
    if (options_.byte_fallback) {
      const bool all = std::all_of(character.begin(), character.end(),
                                   [&](char byte) { return bytes_[static_cast<unsigned char>(byte)].has_value(); });
      if (all) {  // before an unk that still waits, as the reference does
        for (char byte : character) add(*bytes_[static_cast<unsigned char>(byte)]);
        continue;
      }
    }
    if (!options_.unk_token) continue;
    if (!unk_) {
      throw InputError(where_ + ": the text has \"" + std::string(character) +
                       "\", which has no piece, and unk_token \"" + *options_.unk_token +
                       "\" is not in the vocabulary");
    }
    if (unk_waits && !options_.fuse_unk) add(*unk_);
    unk_waits = true;
  }
  if (unk_waits) add(*unk_);
}

void Bpe::merge_all(std::vector<Symbol>& symbols, std::vector<Candidate>& heap) const {
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  heap.clear();
  for (size_t i = 0; i + 1 < symbols.size(); i++) {
    const Merge* merge = find_merge(symbols[i].id, symbols[i + 1].id);
    if (merge) heap.push_back({merge->rank, static_cast<int32_t>(i), merge->result});
  }
  std::make_heap(heap.begin(), heap.end(), later);
  const auto consider = [&](int32_t left) {
    const Symbol& symbol = symbols[static_cast<size_t>(left)];
    const Merge* merge = find_merge(symbol.id, symbols[static_cast<size_t>(symbol.next)].id);
    if (!merge) return;
    heap.push_back({merge->rank, left, merge->result});
    std::push_heap(heap.begin(), heap.end(), later);
  };
  while (!heap.empty()) {
    const Candidate best = heap.front();
    std::pop_heap(heap.begin(), heap.end(), later);
    heap.pop_back();
    Symbol& left = symbols[static_cast<size_t>(best.position)];
    if (left.id < 0 || left.next < 0) continue;
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    const Merge* merge = find_merge(left.id, right.id);
    if (!merge || merge->result != best.result) continue;  // the pair is not what it was
    left.id = best.result;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = best.position;
    if (left.previous >= 0) consider(left.previous);
    if (left.next >= 0) consider(best.position);
  }
}

void Bpe::encode_uncut(std::string_view word, std::vector<int32_t>& tokens, Cache& cache) const {
  const bool short_enough = word.size() <= kCachedLength_bytes;
  std::string key;
  if (short_enough) {
    key = word;
    const auto found = cache.words.find(key);
    if (found != cache.words.end()) {
      tokens.insert(tokens.end(), found->second.begin(), found->second.end());
      return;
    }
  }
  const size_t before = tokens.size();
  const auto whole = options_.ignore_merges ? vocabulary_->id(word) : std::nullopt;
  if (whole) {
    tokens.push_back(*whole);
  } else {
    read_characters(word, cache.symbols);
    merge_all(cache.symbols, cache.heap);
    for (const Symbol& symbol : cache.symbols) {
      if (symbol.id >= 0) tokens.push_back(symbol.id);
    }
  }
  if (short_enough && cache.words.size() < kCachedWords) {
    cache.words.emplace(std::move(key),
                        std::vector<int32_t>(tokens.begin() + static_cast<std::ptrdiff_t>(before), tokens.end()));
  }
}

void Bpe::encode(std::string_view word, std::vector<int32_t>& tokens, Cache& cache) const {
  if (word.size() > std::numeric_limits<int32_t>::max() / 2) {
    throw InputError("a text of " + std::to_string(word.size()) +
                     " bytes without a place to cut it: tokenize it in parts of at most 1 GB");
  }
  if (!cut_at_word_marks_) return encode_uncut(word, tokens, cache);
  size_t begin = 0, pos = 0;
  bool mark_before = true;  // of the character before pos
  while (pos < word.size()) {
    const bool mark = word.substr(pos, kWordMark.size()) == kWordMark;
    if (mark && !mark_before) {
      encode_uncut(word.substr(begin, pos - begin), tokens, cache);
      begin = pos;
    }
    mark_before = mark;
    pos += utf8_length(static_cast<unsigned char>(word[pos]));
  }
  if (begin < word.size()) encode_uncut(word.substr(begin), tokens, cache);
}

}  // namespace pare
