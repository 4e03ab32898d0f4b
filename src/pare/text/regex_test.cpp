#include "pare/text/regex.h"

#include <gtest/gtest.h>

#include "pare/base/error.h"

namespace pare {
namespace {

std::vector<std::string> words(const Regex& regex, std::string_view text) {
  std::vector<std::string> result;
  for (const Cut& cut : cut_by_regex(text, regex)) {
    const std::string piece(text.substr(cut.range.begin, cut.range.end - cut.range.begin));
    result.push_back(cut.match ? piece : "(" + piece + ")");
  }
  return result;
}

TEST(Regex, CutsAsGpt2Does) {
  const Regex regex =
      Regex::oniguruma(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", "test");
  EXPECT_EQ(words(regex, "I've  12 été!\n\n x"),
            (std::vector<std::string>{"I", "'ve", " ", " 12", " été", "!", "\n\n", " x"}));
}

TEST(Regex, WhiteSpaceIsUnicodesAndNotPcres) {
  const Regex space = Regex::oniguruma(R"(\s)", "test"), other = Regex::oniguruma(R"([^\s])", "test");
  EXPECT_TRUE(space.find("\u2003", 0));
  EXPECT_FALSE(space.find("\u180e", 0));  // \h, hence \s, of PCRE2
  EXPECT_TRUE(other.find("\u180e", 0));
  EXPECT_TRUE(Regex::oniguruma(R"([\S])", "test").find("\u180e", 0));
}

TEST(Regex, KnowsLettersNewerThanTheEngine) {
  const Regex letter = Regex::oniguruma(R"(\p{L})", "test"), none = Regex::oniguruma(R"(\P{L})", "test");
  EXPECT_TRUE(letter.find("\U00031350", 0));
  EXPECT_FALSE(none.find("\U00031350", 0));
  EXPECT_FALSE(Regex::oniguruma(R"([^\p{L}\p{N}])", "test").find("\U00031350", 0));
}

TEST(Regex, EmptyMatchesStandBetweenCharactersOnce) {
  EXPECT_EQ(words(Regex::oniguruma("x*", "test"), "axxb"), (std::vector<std::string>{"", "(a)", "xx", "(b)", ""}));
}

TEST(Regex, RefusesByNameWhatMeansSomethingElseHere) {
  const std::pair<const char*, const char*> cases[] = {{R"([a-z&&[^aeiou]])", "&&"},
                                                       {R"([a[bc]])", "a class inside a class"},
                                                       {R"(\p{N}{1,3}+)", "{1,3}+"},
                                                       {R"((a)\1)", "\\1"},
                                                       {R"(\h)", "\\h"},
                                                       {R"(\R)", "\\R"},
                                                       {R"(\p{Latin})", "\\p{Latin}"},
                                                       {R"([\W])", "negated class"},
                                                       {R"((?<name>a))", "(?<n"},
                                                       {R"((?m:a))", "(?m:"},
                                                       {R"(\bword\b)", "\\b"},
                                                       {R"(a{,3})", "{,3}"},
                                                       {R"((*COMMIT)a)", "(*"},
                                                       {R"(\xFF)", "\\x"},
                                                       {R"(a\)", "backslash at the end"},
                                                       {R"([abc)", "[ without ]"},
                                                       {R"([]a])", "begins with ]"},
                                                       {R"(\Ga)", "\\G"}};
  for (const auto& [pattern, named] : cases) {
    try {
      Regex::oniguruma(pattern, "tokenizer.json: pre_tokenizer");
      ADD_FAILURE() << pattern << " was taken";
    } catch (const UnsupportedError& error) {
      EXPECT_NE(std::string(error.what()).find(named), std::string::npos) << error.what();
      EXPECT_EQ(std::string(error.what()).rfind("tokenizer.json: pre_tokenizer: ", 0), 0u) << error.what();
    }
  }
  EXPECT_THROW(Regex::oniguruma("(a", "test"), InputError);
  EXPECT_THROW(Regex::oniguruma("a**(", "test"), InputError);
  EXPECT_THROW(Regex::oniguruma(std::string(30'000, 'a'), "test"), UnsupportedError);
}

TEST(Regex, APatternThatExplodesGivesUpAndSaysSo) {
  const Regex bomb = Regex::oniguruma("(?:a+)+$", "tokenizer.json: pre_tokenizer");
  try {
    bomb.find(std::string(200, 'a') + "b", 0);
    FAIL() << "no limit";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("too many steps"), std::string::npos) << error.what();
  }
}

TEST(Regex, LongRunsAreNoBombs) {
  const Regex regex =
      Regex::oniguruma(R"([^\r\n\p{L}\p{N}]?\p{L}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)", "t");
  for (const std::string unit : {" ", "a", "\n", "!", "\u3000", "'"}) {
    std::string text;
    while (text.size() < 3'000'000) text += unit;
    EXPECT_EQ(words(regex, text).size(), 1u) << unit;
  }
}

}  // namespace
}  // namespace pare
