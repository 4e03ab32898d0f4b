#include "pare/weights/pattern.h"

#include <gmock/gmock.h>

#include <cmath>

#include "pare/base/error.h"

namespace pare {
namespace {

TEST(Pattern, ReadsSharesPercentagesAndGroups) {
  EXPECT_DOUBLE_EQ(Pattern::parse("0.5").sparsity, 0.5);
  EXPECT_DOUBLE_EQ(Pattern::parse("50%").sparsity, 0.5);
  EXPECT_DOUBLE_EQ(Pattern::parse(" 62.5 % ").sparsity, 0.625);
  EXPECT_DOUBLE_EQ(Pattern::parse("0").sparsity, 0);
  EXPECT_FALSE(Pattern::parse("0.5").structured());
  const Pattern nm = Pattern::parse("2:4");
  EXPECT_TRUE(nm.structured());
  EXPECT_EQ(nm.n, 2);
  EXPECT_EQ(nm.m, 4);
  EXPECT_DOUBLE_EQ(nm.sparsity, 0.5);
  EXPECT_DOUBLE_EQ(Pattern::parse("3 : 4").sparsity, 0.25);
}

TEST(Pattern, WritesWhatItReads) {
  for (const char* text : {"0.5", "0.1", "0.333", "0", "2:4", "4:8", "1:16"}) {
    EXPECT_EQ(Pattern::parse(text).text(), text);
    EXPECT_EQ(Pattern::parse(Pattern::parse(text).text()), Pattern::parse(text));
  }
  EXPECT_EQ(Pattern::parse("25%").text(), "0.25");
}

TEST(Pattern, RefusesEverythingElseQuotingIt) {
  for (const char* text : {"",   "half", "1",   "1.5", "-0.1",  "100%",  "nan",  "inf",    "0.5x",          "2:",
                           ":4", "0:4",  "5:4", "2:1", "2:4:8", "2.0:4", "-1:4", "1:1000", "99999999999:4", "%"}) {
    try {
      Pattern::parse(text);
      ADD_FAILURE() << "accepted \"" << text << "\"";
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("\"" + std::string(text) + "\""));
    }
  }
}

// The slow way: go through the units one by one.
int64_t kept_by_counting(double sparsity, int64_t units, int64_t unit_size) {
  int64_t kept = 0;
  for (int64_t i = 0; i < units; ++i) kept += unit_size - std::llround(sparsity * static_cast<double>(unit_size));
  return kept;
}

TEST(Pattern, CountsWhatIsKeptInEachUnit) {
  for (const double s : {0.0, 0.1, 1.0 / 3, 0.5, 0.77, 0.999}) {
    const Pattern p{.sparsity = s};
    SCOPED_TRACE(s);
    for (const auto& [out, in] : {std::pair{1, 1}, {3, 7}, {33, 129}, {127, 256}, {576, 1536}}) {
      EXPECT_EQ(kept_count(p, PruneUnit::layer, out, in), kept_by_counting(s, 1, int64_t{out} * in));
      EXPECT_EQ(kept_count(p, PruneUnit::row, out, in), kept_by_counting(s, out, in));
      EXPECT_EQ(kept_count(p, PruneUnit::tile, out, in, 128),
                kept_by_counting(s, in / 128, int64_t{out} * 128) + kept_by_counting(s, 1, int64_t{out} * (in % 128)));
      EXPECT_EQ(kept_count(p, PruneUnit::tile, out, in, in), kept_count(p, PruneUnit::layer, out, in));
    }
  }
  EXPECT_EQ(kept_count(Pattern::parse("2:4"), PruneUnit::tile, 5, 12), 30);
  EXPECT_EQ(kept_count(Pattern::parse("3:8"), PruneUnit::layer, 7, 16), 42);
}

}  // namespace
}  // namespace pare
