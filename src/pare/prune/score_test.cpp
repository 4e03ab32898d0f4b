#include "pare/prune/score.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include <limits>

#include "pare/base/error.h"
#include "pare/prune/test_problems.h"

namespace pare {
namespace {

using testing_problems::correlated;
using testing_problems::golden;

at::Tensor unpacked(const Weight& weight) {
  const std::vector<float> values = weight.unpack();
  return at::tensor(values).reshape({weight.shape[0], weight.shape[1]});
}

int64_t kept_by_mask(const Weight& weight) {
  int64_t kept = 0;
  for (const uint8_t byte : weight.mask->bits) kept += __builtin_popcount(byte);
  return kept;
}

TEST(Wanda, KeepsWhatTheGoldenCaseKeeps) {
  for (const char* pattern : {"0.5", "2:4"}) {
    const Solution s = wanda(golden(), {.pattern = Pattern::parse(pattern), .dtype = Dtype::f32});
    const at::Tensor kept = at::tensor({0, 1, 0, 1, 0, 1, 1, 0, 0, 0, 1, 1}, at::kByte).reshape({3, 4}).ne(0);
    EXPECT_TRUE(at::equal(s.dequantized, golden().weight.masked_fill(kept.logical_not(), 0)));
    EXPECT_NEAR(s.loss / 2, 28.63, 5e-3);
  }
}

TEST(ScorePruning, KeptValuesSurviveUnchangedAndCountsAreExact) {
  for (const auto& [out, in] : {std::pair{1, 1}, {1, 127}, {33, 129}, {64, 40}}) {
    for (const char* text : {"0", "0.1", "0.5", "0.777", "0.999"}) {
      const Problem p = correlated({.out = out, .in = in, .tokens = 60, .seed = 3});
      const Pattern pattern = Pattern::parse(text);
      const Solution m = magnitude(p, {.pattern = pattern});
      const Solution w = wanda(p, {.pattern = pattern});
      EXPECT_EQ(kept_by_mask(m.weight), kept_count(pattern, PruneUnit::layer, out, in)) << out << "x" << in << text;
      EXPECT_EQ(kept_by_mask(w.weight), kept_count(pattern, PruneUnit::row, out, in)) << out << "x" << in << text;
      for (const Solution* s : {&m, &w}) {
        const at::Tensor same = s->dequantized.eq(p.weight).logical_or(s->dequantized.eq(0));
        EXPECT_TRUE(same.all().item<bool>());
        EXPECT_TRUE(at::equal(unpacked(s->weight), s->dequantized));
      }
    }
  }
}

TEST(ScorePruning, GroupsKeepExactlyN) {
  const Problem p = correlated({.out = 19, .in = 96, .seed = 4});
  for (const char* text : {"2:4", "4:8", "1:3"}) {
    const Pattern pattern = Pattern::parse(text);
    for (const Solution& s : {magnitude(p, {.pattern = pattern}), wanda(p, {.pattern = pattern})}) {
      const at::Tensor kept = s.dequantized.ne(0).reshape({-1, pattern.m}).sum(1);
      EXPECT_TRUE(kept.eq(pattern.n).all().item<bool>()) << text;
      EXPECT_EQ(s.weight.mask->n, pattern.n);
      EXPECT_EQ(s.weight.mask->m, pattern.m);
    }
  }
}

TEST(Wanda, IsInvariantToTheScaleOfTheInputs) {
  Problem p = correlated({.out = 40, .in = 96, .seed = 6});
  for (const char* text : {"0.6", "2:4"}) {
    const Solution expected = wanda(p, {.pattern = Pattern::parse(text)});
    for (const double scale : {1e-30, 0.37, 3.0, 1e25}) {
      Problem scaled = p;
      scaled.curvature.sum_sq = p.curvature.sum_sq * (scale * scale);
      EXPECT_TRUE(at::equal(wanda(scaled, {.pattern = Pattern::parse(text)}).dequantized, expected.dequantized));
    }
  }
}

TEST(Wanda, InputsThatAreAlwaysZeroGoFirst) {
  Problem p = correlated({.out = 12, .in = 40, .seed = 8});
  p.curvature.sum_sq[7] = 0;
  p.curvature.sum_sq[30] = 0;
  const Solution s = wanda(p, {.pattern = Pattern::parse("0.05")});
  EXPECT_EQ(s.dead_inputs, 2);
  EXPECT_EQ(s.dequantized.select(1, 7).count_nonzero().item<int64_t>(), 0);
  EXPECT_EQ(s.dequantized.select(1, 30).count_nonzero().item<int64_t>(), 0);
  EXPECT_EQ(s.dequantized.count_nonzero().item<int64_t>(), 12 * 38);
}

TEST(ScorePruning, NamesTheLayerAndThePlaceOfWhatItCannotUse) {
  Problem p = correlated({.out = 5, .in = 10});
  try {
    magnitude(p, {.pattern = Pattern::parse("2:4")});
    ADD_FAILURE();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(),
                testing::AllOf(testing::HasSubstr(p.name), testing::HasSubstr("2:4"), testing::HasSubstr("10")));
  }
  p.weight[3][4] = std::numeric_limits<float>::quiet_NaN();
  for (const auto& method : {magnitude, wanda}) {
    try {
      method(p, {.pattern = Pattern::parse("0.5")});
      ADD_FAILURE();
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr(p.name), testing::HasSubstr("[3, 4] is NaN")));
    }
  }
}

}  // namespace
}  // namespace pare
