#include "pare/prune/sparsegpt.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include <limits>

#include "pare/base/error.h"
#include "pare/prune/score.h"
#include "pare/prune/test_problems.h"

namespace pare {
namespace {

using testing_problems::correlated;
using testing_problems::golden;

at::Tensor unpacked(const Weight& weight) {
  const std::vector<float> values = weight.unpack();
  return at::tensor(values).reshape({weight.shape[0], weight.shape[1]});
}

at::Tensor mask_of(const Weight& weight) {
  const int64_t out = weight.shape[0], in = weight.shape[1];
  const at::Tensor keep = at::zeros({out, in}, at::kByte);
  for (int64_t r = 0; r < out; ++r) {
    for (int64_t c = 0; c < in; ++c) {
      keep.data_ptr<uint8_t>()[r * in + c] = (weight.mask->bits[r * ((in + 7) / 8) + c / 8] >> (c % 8)) & 1;
    }
  }
  return keep;
}

// As in the paper: one walk.
SparseGptOptions plain(const char* pattern, int64_t block = 128) {
  SparseGptOptions options;
  options.pattern = Pattern::parse(pattern);
  options.block = block;
  options.dtype = Dtype::f32;
  options.improve.steps = 0;
  return options;
}

SparseGptOptions improved(const char* pattern) {
  SparseGptOptions options = plain(pattern);
  options.improve = {};
  return options;
}

TEST(SparseGpt, MatchesTheGoldenCase) {
  const at::Tensor expected = at::tensor({0., -.8651106663, 0., 3.5679013722,   //
                                          0., 1.8404668001, -1.4145715404, 0.,  //
                                          0., 0., 2.8281284403, -1.6826307077},
                                         at::kDouble)
                                  .reshape({3, 4});
  for (const char* pattern : {"0.5", "2:4"}) {
    const Solution s = sparsegpt(golden(), plain(pattern, 4));
    EXPECT_LT((s.dequantized.to(at::kDouble) - expected).abs().max().item<double>(), 2e-6) << pattern;
    EXPECT_NEAR(s.loss / 2, 21.9679206103, 1e-4);  // the page's E is half of ours
    EXPECT_EQ(s.damp, 0.01);
  }
  EXPECT_NEAR(sparsegpt(golden(), plain("0.5", 2)).loss / 2, 33.83, 5e-3);
}

TEST(SparseGpt, NothingRemovedIsTheIdentityBitForBit) {
  const Problem p = correlated({.out = 21, .in = 130});
  SparseGptOptions options = plain("0");
  options.dtype = Dtype::bf16;
  const Solution s = sparsegpt(p, options);
  EXPECT_TRUE(at::equal(s.dequantized, p.weight));
  EXPECT_EQ(s.loss, 0);
}

// With no correlation nothing can make up for what goes: the largest |w| sqrt(H_jj) stay, unchanged.
TEST(SparseGpt, DiagonalCurvatureIsTopKUnchanged) {
  Problem p = correlated({.out = 17, .in = 90});
  p.curvature.h = at::diag(p.curvature.h.diagonal()).contiguous();
  SparseGptOptions options = plain("0.6", 90);
  options.damp = 0;
  const Solution s = sparsegpt(p, options);
  const at::Tensor score = p.weight.abs() * p.curvature.h.diagonal().sqrt();
  const int64_t goes = removed_of(options.pattern, score.numel());
  const at::Tensor kept = score.gt(std::get<0>(score.flatten().sort())[goes - 1]);
  EXPECT_TRUE(at::equal(s.dequantized, p.weight.masked_fill(kept.logical_not(), 0)));
}

TEST(SparseGpt, CountsAreExactInEveryTileAndGroup) {
  for (const auto& [out, in, block] : {std::tuple{1, 1, 128}, {3, 129, 128}, {33, 192, 50}, {17, 300, 128}}) {
    const Problem p = correlated({.out = out, .in = in, .tokens = 80, .seed = 9});
    for (const char* text : {"0.1", "0.5", "0.777"}) {
      const SparseGptOptions options = plain(text, block);
      const at::Tensor keep = mask_of(sparsegpt(p, options).weight);
      for (int64_t c = 0; c < in; c += block) {
        const int64_t count = std::min<int64_t>(block, in - c) * out;
        EXPECT_EQ(keep.narrow(1, c, count / out).sum().item<int64_t>(), count - removed_of(options.pattern, count));
      }
      EXPECT_EQ(keep.sum().item<int64_t>(), kept_count(options.pattern, PruneUnit::tile, out, in, block));
    }
  }
  const Problem p = correlated({.out = 18, .in = 240, .tokens = 80, .seed = 9});
  for (const char* text : {"2:4", "4:8", "2:5", "7:60"}) {
    const SparseGptOptions options = plain(text);
    const Solution s = sparsegpt(p, options);
    EXPECT_TRUE(mask_of(s.weight).reshape({-1, options.pattern.m}).sum(1).eq(options.pattern.n).all().item<bool>());
    EXPECT_EQ(s.weight.mask->m, options.pattern.m);
  }
}

TEST(SparseGpt, BeatsWandaAndMagnitudeOnTheErrorItMinimises) {
  for (const uint64_t seed : {1, 2, 3}) {
    for (const char* text : {"0.5", "2:4", "0.7"}) {
      SCOPED_TRACE(std::to_string(seed) + " " + text);
      const Problem p = correlated({.out = 48, .in = 256, .tokens = 700, .seed = seed});
      const Pattern pattern = Pattern::parse(text);
      SparseGptOptions options = plain(text);
      options.dtype = Dtype::bf16;
      const Solution s = sparsegpt(p, options), w = wanda(p, {.pattern = pattern}),
                     m = magnitude(p, {.pattern = pattern});
      EXPECT_LT(s.loss, 0.7 * w.loss);
      EXPECT_LT(w.loss, m.loss);
      EXPECT_TRUE(at::equal(unpacked(s.weight), s.dequantized));
    }
  }
}

TEST(SparseGpt, ImprovingLowersTheLossAndKeepsEveryCount) {
  for (const uint64_t seed : {1, 2, 3}) {
    for (const char* text : {"0.5", "0.777", "2:4", "4:8"}) {
      SCOPED_TRACE(std::to_string(seed) + " " + text);
      const Problem p = correlated({.out = 101, .in = 240, .tokens = 700, .seed = seed});
      const Solution paper = sparsegpt(p, plain(text)), better = sparsegpt(p, improved(text));
      EXPECT_LT(better.loss, 0.9 * paper.loss);
      const at::Tensor keep = mask_of(better.weight);
      EXPECT_TRUE(at::equal(keep.sum(1), mask_of(paper.weight).sum(1)));
      if (const Pattern pattern = Pattern::parse(text); pattern.structured()) {
        EXPECT_TRUE(keep.reshape({-1, pattern.m}).sum(1).eq(pattern.n).all().item<bool>());
      }
      EXPECT_EQ(better.dequantized.masked_select(keep.eq(0)).count_nonzero().item<int64_t>(), 0);
    }
  }
}

TEST(SparseGpt, JointRoundingKeepsZerosAndStaysOnTheGrid) {
  const Problem p = correlated({.out = 40, .in = 256, .tokens = 700});
  for (const bool symmetric : {true, false}) {
    for (const char* text : {"2:4", "0.5"}) {
      double paper = 0;
      for (SparseGptOptions options : {plain(text), improved(text)}) {
        options.quantize = true;
        options.grid.bits = 4;
        options.grid.group = 64;
        options.grid.symmetric = symmetric;
        const Solution s = sparsegpt(p, options);
        const at::Tensor keep = mask_of(s.weight);
        EXPECT_TRUE(at::equal(unpacked(s.weight), s.dequantized));
        EXPECT_EQ(s.dequantized.masked_select(keep.eq(0)).count_nonzero().item<int64_t>(), 0);
        EXPECT_EQ(keep.sum().item<int64_t>(), 40 * 128);
        const auto& base = std::get<GroupedInts>(s.weight.base);
        EXPECT_EQ(base.bits, 4);
        if (options.improve.steps > 0) {
          EXPECT_LT(s.loss, 0.9 * paper);
          continue;
        }
        paper = s.loss;
        // Rounding in the walk costs less than rounding what the walk left.
        const Solution pruned = sparsegpt(p, plain(text));
        const Grid grid = fit_grid(pruned.dequantized, p.curvature.h.diagonal().contiguous(), options.grid);
        const at::Tensor later = decode(encode(pruned.dequantized, grid), grid);
        EXPECT_LT(s.loss, output_error(p.weight, later, p.curvature.h).loss);
      }
    }
  }
}

TEST(SparseGpt, SameBytesOnOneAndManyThreads) {
  const int threads = at::get_num_threads();
  const Problem p = correlated({.out = 400, .in = 260, .tokens = 1000});
  for (const char* text : {"0.5", "2:4"}) {
    for (SparseGptOptions options : {plain(text), improved(text)}) {
      for (const bool quantize : {false, true}) {
        options.quantize = quantize;
        options.grid.group = 64;
        at::set_num_threads(1);
        const Solution one = sparsegpt(p, options);
        at::set_num_threads(3);
        const Solution three = sparsegpt(p, options);
        EXPECT_TRUE(at::equal(one.dequantized, three.dequantized));
        EXPECT_EQ(one.loss, three.loss);
      }
    }
  }
  at::set_num_threads(threads);
}

TEST(SparseGpt, DeadInputsGetZeroAndCountsStayExact) {
  Problem p = correlated({.out = 16, .in = 64});
  for (const int64_t dead : {3, 4, 5, 6, 40}) {
    p.curvature.h.select(0, dead).zero_();
    p.curvature.h.select(1, dead).zero_();
  }
  for (const char* text : {"0.5", "2:4"}) {
    for (const SparseGptOptions& options : {plain(text), improved(text)}) {
      const Solution s = sparsegpt(p, options);
      EXPECT_EQ(s.dead_inputs, 5);
      EXPECT_EQ(s.dequantized.narrow(1, 3, 4).count_nonzero().item<int64_t>(), 0);
      EXPECT_EQ(mask_of(s.weight).sum().item<int64_t>(), 16 * 32);
    }
  }
}

TEST(SparseGpt, SaysWhyWhenSomethingIsNotFinite) {
  Problem p = correlated({.out = 16, .in = 64});
  p.weight[2][9] = std::numeric_limits<float>::infinity();
  try {
    sparsegpt(p, plain("0.5"));
    ADD_FAILURE();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr(p.name), testing::HasSubstr("[2, 9] is infinite")));
  }
  p = correlated({.out = 16, .in = 64});
  p.curvature.h[5][6] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(sparsegpt(p, plain("0.5")), InputError);
  EXPECT_THROW(sparsegpt(correlated({.out = 4, .in = 30}), plain("2:4")), UsageError);
}

}  // namespace
}  // namespace pare
