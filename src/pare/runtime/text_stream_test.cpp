#include "pare/runtime/text_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pare/base/random.h"
#include "pare/runtime/test_tokenizers.h"

namespace pare {
namespace {

TEST(TextStream, PiecesTogetherAreTheDecodingOfTheWhole) {
  const Tokenizer tokenizers[] = {byte_tokenizer(), sentencepiece_tokenizer()};
  const std::string text = "na\u00efve \u4e2d\u6587 \U0001F600!";
  for (const Tokenizer& tokenizer : tokenizers) {
    for (uint64_t seed = 0; seed < 400; ++seed) {
      SCOPED_TRACE(tokenizer.kind() + ", seed " + std::to_string(seed));
      const CounterRandom random(seed, "tokens");
      std::vector<int32_t> tokens;
      for (uint64_t i = 0; i < 1 + random.below(0, 40); ++i) {
        // Bytes of real characters in order half of the time, anything else otherwise.
        const auto any = static_cast<int32_t>(random.below(3 * i + 1, static_cast<uint64_t>(tokenizer.vocab_size())));
        const bool real = random.below(3 * i + 2, 2) == 0;
        tokens.push_back(real ? static_cast<unsigned char>(text[(seed + i) % text.size()]) : any);
      }
      TextStream stream(tokenizer);
      std::string streamed;
      for (int32_t token : tokens) {
        const std::string piece = stream.add(token);
        EXPECT_TRUE(is_valid_utf8(piece));
        streamed += piece;
      }
      streamed += stream.finish();
      EXPECT_EQ(streamed, tokenizer.decode(tokens));
    }
  }
}

TEST(TextStream, GivesEachCharacterWithItsLastByte) {
  const Tokenizer tokenizer = byte_tokenizer();
  TextStream stream(tokenizer);
  std::vector<std::string> pieces;
  for (const char byte : std::string("a\u00e4\U0001F600b"))
    pieces.push_back(stream.add(static_cast<unsigned char>(byte)));
  EXPECT_THAT(pieces, testing::ElementsAre("a", "", "\u00e4", "", "", "", "\U0001F600", "b"));
  EXPECT_EQ(stream.finish(), "");
}

TEST(StopMatcher, HoldsBackWhatMayBegin) {
  StopMatcher matcher({"###", "\n\nUser:"});
  EXPECT_EQ(matcher.add("one #"), "one ");
  EXPECT_EQ(matcher.add("# two\n"), "## two");
  EXPECT_EQ(matcher.add("\nUs"), "");
  EXPECT_EQ(matcher.add("ers\n\nUse"), "\n\nUsers");
  EXPECT_FALSE(matcher.matched());
  EXPECT_EQ(matcher.add("r: hello"), "");
  EXPECT_TRUE(matcher.matched());
  EXPECT_EQ(matcher.add("more"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, EndsBeforeTheFirstOfAnyCutOfTheText) {
  const std::string text = "ababcababdxyz";
  for (const auto& stops : std::vector<std::vector<std::string>>{{"ababd"}, {"abcab", "ababd"}, {"zz"}, {"a"}}) {
    size_t first = std::string::npos;
    for (const auto& stop : stops) first = std::min(first, text.find(stop));
    for (unsigned cuts = 0; cuts < (1u << (text.size() - 1)); cuts += 7) {
      StopMatcher matcher(stops);
      std::string out, piece;
      for (size_t i = 0; i < text.size(); ++i) {
        piece += text[i];
        if ((cuts >> i & 1) != 0) out += matcher.add(std::exchange(piece, ""));
      }
      out += matcher.add(piece);
      EXPECT_EQ(matcher.matched(), first != std::string::npos);
      out += matcher.finish();
      ASSERT_EQ(out, text.substr(0, first)) << "cuts " << cuts;
    }
  }
}

}  // namespace
}  // namespace pare
