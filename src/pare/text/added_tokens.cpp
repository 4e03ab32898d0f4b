#include "pare/text/added_tokens.h"

#include <algorithm>

#include "pare/base/error.h"
#include "pare/base/log.h"
#include "pare/text/unicode.h"

namespace pare {
namespace {

bool begins_with_word(std::string_view text) {
  size_t pos = 0;
  return !text.empty() && is_word(next_code_point(text, pos));
}

bool ends_with_word(std::string_view text) {
  if (text.empty()) return false;
  size_t start = text.size() - 1;
  while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) start--;
  return is_word(next_code_point(text, start));
}

}  // namespace

void AddedTokens::Trie::add(std::string_view text, int32_t index, const std::string& where) {
  uint32_t node = 0;
  for (char c : text) {
    const uint64_t key = uint64_t{node} << 8 | static_cast<unsigned char>(c);
    const auto [child, fresh] = children.emplace(key, static_cast<uint32_t>(token.size()));
    if (fresh) token.push_back(-1);
    node = child->second;
  }
  if (token[node] >= 0) {
    throw InputError(where + ": two added tokens are spelt \"" + std::string(text) + "\" after normalization");
  }
  token[node] = index;
  first_byte[static_cast<unsigned char>(text[0])] = true;
}

std::optional<std::pair<size_t, int32_t>> AddedTokens::Trie::match(std::string_view text) const {
  if (text.empty() || !first_byte[static_cast<unsigned char>(text[0])]) return std::nullopt;
  std::optional<std::pair<size_t, int32_t>> longest;
  uint32_t node = 0;
  for (size_t i = 0; i < text.size(); i++) {
    const auto child = children.find(uint64_t{node} << 8 | static_cast<unsigned char>(text[i]));
    if (child == children.end()) break;
    node = child->second;
    if (token[node] >= 0) longest = {i + 1, token[node]};
  }
  return longest;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Vocabulary& vocabulary, const Normalizer& normalizer,
                         const std::string& where) {
  int64_t next = vocabulary.count();
  for (AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    if (by_content_.count(token.content) > 0) {
      throw InputError(where + ": added token \"" + token.content + "\" appears twice");
    }
    if (token.id < 0 || token.id >= kMostTokens) {
      throw InputError(where + ": added token \"" + token.content + "\" has id " + std::to_string(token.id) +
                       "; expected 0 to " + std::to_string(kMostTokens - 1));
    }
    const auto known = vocabulary.id(token.content);
    const int64_t id = known ? *known : next++;
    if (id != token.id) {
      log_line(Level::warning, where + ": added token \"" + token.content + "\" says id " + std::to_string(token.id) +
                                   "; like the original tokenizer, Pare takes " + std::to_string(id) +
                                   (known ? ", its id in the vocabulary" : ", the next free one"));
    }
    token.id = id;
    const auto id32 = static_cast<int32_t>(id);
    if (!known && vocabulary.piece(id32) != nullptr) {
      throw InputError(where + ": added token \"" + token.content + "\" gets id " + std::to_string(id) +
                       ", which is \"" + *vocabulary.piece(id32) + "\" in the vocabulary");
    }
    end_ = std::max(end_, id + 1);
    const size_t index = tokens_.size();
    by_id_.emplace(id32, index);
    by_content_.emplace(token.content, index);
    bool from_start = true;
    normalized_.push_back(token.normalized ? normalizer.apply(token.content, from_start) : token.content);
    if (normalized_.back().empty()) {
      throw InputError(where + ": added token \"" + token.content + "\": nothing is left of it after normalization");
    }
    (token.normalized ? normalized_trie_ : raw_).add(normalized_.back(), static_cast<int32_t>(index), where);
    tokens_.push_back(std::move(token));
  }
}

std::vector<AddedTokens::Piece> AddedTokens::cut(std::string_view text, Pass pass) const {
  const Trie& trie = pass == Pass::raw ? raw_ : normalized_trie_;
  std::vector<Piece> pieces;
  size_t done = 0;
  for (size_t pos = 0; pos < text.size();) {
    const auto found = trie.match(text.substr(pos));
    if (!found) {
      pos++;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(found->second)];
    size_t begin = pos, end = pos + found->first;
    pos = end;
    if (token.single_word && (ends_with_word(text.substr(0, begin)) || begins_with_word(text.substr(end)))) continue;
    if (token.lstrip) begin = std::max(begin - trailing_white_space(text.substr(0, begin)), done);
    if (token.rstrip) end += leading_white_space(text.substr(end));
    if (done < begin) pieces.push_back({{done, begin}, std::nullopt});
    pieces.push_back({{begin, end}, static_cast<int32_t>(token.id)});
    done = end;
  }
  if (done < text.size()) pieces.push_back({{done, text.size()}, std::nullopt});
  return pieces;
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

std::optional<int32_t> AddedTokens::id(std::string_view content) const {
  const auto found = by_content_.find(std::string(content));
  if (found == by_content_.end()) return std::nullopt;
  return static_cast<int32_t>(tokens_[found->second].id);
}

const std::string& AddedTokens::decoded(const AddedToken& token) const {
  return normalized_[by_content_.at(token.content)];
}

}  // namespace pare
