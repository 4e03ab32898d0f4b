#include "pare/text/bpe.h"

#include <gtest/gtest.h>

#include <map>

#include "pare/base/error.h"
#include "pare/base/random.h"

namespace pare {
namespace {

struct Model {
  std::vector<std::pair<std::string, int64_t>> pieces;
  Merges merges;
};

// Merges of pieces made so far, over a small alphabet, so that ranks, lengths and overlaps vary.
Model random_model(uint64_t seed, const std::vector<std::string>& alphabet, size_t count) {
  const CounterRandom random(seed, "bpe test");
  std::map<std::string, int64_t> ids;
  Model model;
  const auto add = [&](const std::string& piece) {
    if (ids.emplace(piece, static_cast<int64_t>(ids.size())).second) model.pieces.emplace_back(piece, ids[piece]);
  };
  for (const auto& character : alphabet) add(character);
  for (uint64_t i = 0; model.merges.size() < count && i < 10 * count; i++) {
    const auto& left = model.pieces[random.below(2 * i, model.pieces.size())].first;
    const auto& right = model.pieces[random.below(2 * i + 1, model.pieces.size())].first;
    if (left.size() + right.size() > 12) continue;
    model.merges.emplace_back(left, right);
    add(left + right);
  }
  return model;
}

// The definition: the pair of lowest rank, the leftmost of these, again and again.
std::vector<int32_t> slow_bpe(const Model& model, std::vector<std::string> parts) {
  std::map<std::pair<std::string, std::string>, size_t> ranks;
  for (size_t rank = 0; rank < model.merges.size(); rank++) ranks[model.merges[rank]] = rank;
  while (true) {
    size_t best = model.merges.size(), at = 0;
    for (size_t i = 0; i + 1 < parts.size(); i++) {
      const auto found = ranks.find({parts[i], parts[i + 1]});
      if (found != ranks.end() && found->second < best) best = found->second, at = i;
    }
    if (best == model.merges.size()) break;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  std::map<std::string, int64_t> ids(model.pieces.begin(), model.pieces.end());
  std::vector<int32_t> result;
  for (const auto& part : parts) result.push_back(static_cast<int32_t>(ids.at(part)));
  return result;
}

std::vector<int32_t> encode(const Bpe& bpe, std::string_view word) {
  Bpe::Cache cache;
  std::vector<int32_t> first, again;
  bpe.encode(word, first, cache);
  bpe.encode(word, again, cache);  // from the cache
  EXPECT_EQ(first, again);
  return first;
}

Bpe make(const Model& model, BpeOptions options = {}) {
  return Bpe(std::make_shared<Vocabulary>(model.pieces, "test"), model.merges, std::move(options), "test");
}

TEST(Bpe, MatchesTheDefinitionOnRandomModels) {
  for (const auto& alphabet :
       {std::vector<std::string>{"a", "b"}, {"a", "\xE2\x96\x81", "c", "\u00e9"}, {"\xE2\x96\x81", "x"}}) {
    for (uint64_t seed = 1; seed <= 60; seed++) {
      SCOPED_TRACE("seed " + std::to_string(seed));
      const Model model = random_model(seed, alphabet, 5 + seed);
      const Bpe bpe = make(model);
      const CounterRandom random(seed, "words");
      for (uint64_t w = 0; w < 20; w++) {
        std::vector<std::string> characters;
        std::string word;
        for (uint64_t i = 0; i < 1 + w * 3; i++) {
          characters.push_back(alphabet[random.below(w << 32 | i, alphabet.size())]);
          word += characters.back();
        }
        ASSERT_EQ(encode(bpe, word), slow_bpe(model, characters)) << word;
      }
    }
  }
}

TEST(Bpe, AMillionCharactersWithoutACutTakeNoSquareOfThat) {
  Model model;
  std::string piece = "a";
  for (int64_t id = 0; id < 12; id++) {
    model.pieces.emplace_back(piece, id);
    if (id < 11) model.merges.emplace_back(piece, piece);
    piece += piece;
  }
  const auto ids = encode(make(model), std::string(1 << 20, 'a'));
  EXPECT_EQ(ids, std::vector<int32_t>(512, 11));
}

const Model kBytes = {{{"<unk>", 0}, {"a", 1}, {"<0xC3>", 2}, {"<0xA9>", 3}, {"<0x20>", 4}, {"aa", 5}}, {{"a", "a"}}};

TEST(Bpe, FallsBackToBytesWhereAllOfThemArePieces) {
  const Bpe bpe = make(kBytes, {.unk_token = "<unk>", .byte_fallback = true});
  EXPECT_EQ(encode(bpe, "a\u00e9 a"), (std::vector<int32_t>{1, 2, 3, 4, 1}));
  EXPECT_EQ(encode(bpe, "a\u00e8a"), (std::vector<int32_t>{1, 0, 1}));  // <0xA8> is none
}

TEST(Bpe, JoinsUnknownCharactersIfAsked) {
  EXPECT_EQ(encode(make(kBytes, {.unk_token = "<unk>"}), "xyaz"), (std::vector<int32_t>{0, 0, 1, 0}));
  EXPECT_EQ(encode(make(kBytes, {.unk_token = "<unk>", .fuse_unk = true}), "xyaz"), (std::vector<int32_t>{0, 1, 0}));
  EXPECT_EQ(encode(make(kBytes), "xyaz"), (std::vector<int32_t>{1}));
  EXPECT_THROW(encode(make(kBytes, {.unk_token = "[UNK]"}), "x"), InputError);
}

TEST(Bpe, TakesAWholePieceWhenMergesAreIgnored) {
  Model model = kBytes;
  model.pieces.emplace_back("aaa", 6);
  EXPECT_EQ(encode(make(model), "aaa"), (std::vector<int32_t>{5, 1}));
  EXPECT_EQ(encode(make(model, {.ignore_merges = true}), "aaa"), (std::vector<int32_t>{6}));
}

TEST(Bpe, GivesItsMergesBackInOrder) {
  const Model model = random_model(7, {"a", "b", "c"}, 40);
  EXPECT_EQ(slow_bpe({model.pieces, make(model).merges()}, {"a", "b", "c", "a", "a", "b", "b", "c"}),
            slow_bpe(model, {"a", "b", "c", "a", "a", "b", "b", "c"}));
}

}  // namespace
}  // namespace pare
