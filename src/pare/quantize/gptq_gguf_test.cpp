#include "pare/quantize/gptq_gguf.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pare/base/error.h"
#include "pare/curvature/inverse_factor.h"
#include "pare/quantize/gguf_descent.h"
#include "pare/quantize/rounded.h"
#include "pare/quantize/test_problems.h"

namespace pare {
namespace {

const std::vector<std::string> kNames{"Q4_0",  "Q4_1",    "Q5_0",   "Q5_1",   "Q8_0",    "Q2_K",  "Q3_K",  "Q4_K",
                                      "Q5_K",  "Q6_K",    "IQ4_NL", "IQ4_XS", "TQ1_0",   "TQ2_0", "MXFP4", "IQ1_S",
                                      "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S",  "IQ3_XXS", "IQ3_S"};

const GgmlType& named(const std::string& name) {
  return *ggml_type_named(name);
}

GgufGptqOptions walk_only(const std::string& name, bool act_order = true) {
  return {.type = &named(name), .act_order = act_order, .keep_better_rtn = false, .descent_sweeps = 0};
}

TEST(GptqGguf, ErrsLessThanAnImportanceMatrixAloneInEveryType) {
  const Problem p = random_problem({.out = 37, .in = 512, .tokens = 900, .seed = 1});
  for (const std::string& name : kNames) {
    const Solution rounded = rtn_gguf(p, named(name));
    const Solution walked = gptq_gguf(p, walk_only(name));
    const Solution solved = gptq_gguf(p, {.type = &named(name)});
    EXPECT_LT(walked.loss, 0.7 * rounded.loss) << name;
    EXPECT_LT(solved.loss, 0.97 * walked.loss) << name;
    EXPECT_NEAR(solved.rtn_loss, rounded.loss, 1e-4 * rounded.loss) << name;
    EXPECT_NEAR(solved.loss, dumb_loss(p.weight - unpacked(solved.weight), p.curvature.h), 1e-3 * solved.loss) << name;
  }
}

// The walk without blocks, vectors or threads, in f64, on the grid that the fast one is given.
TEST(GptqGguf, WalksAsTheDefinitionSays) {
  for (const std::string name : {"Q4_0", "Q5_1", "Q2_K", "Q3_K", "Q6_K", "IQ4_XS", "MXFP4"}) {
    const Problem p = random_problem({.out = 5, .in = 256, .tokens = 600, .seed = 2});
    const Solution fast = gptq_gguf(p, walk_only(name, /*act_order=*/false));
    const InverseFactor factor = inverse_factor(p.curvature.h, 0.01, {}, p.name);
    const at::Tensor importance = factor.u.diagonal().to(at::kDouble).pow(-2).to(at::kFloat).contiguous();
    const GgufGrid grid = fit_gguf_grid(p.weight, importance, named(name), FitWeights::importance);
    at::Tensor w = p.weight.to(at::kDouble).clone(), q = w.clone();
    const at::Tensor u = factor.u.to(at::kDouble);
    for (int64_t j = 0; j < w.size(1); ++j) {
      at::Tensor copy = w.to(at::kFloat).contiguous();
      q.select(1, j).copy_(round_to(grid, copy).select(1, j));
      const at::Tensor e = (w.select(1, j) - q.select(1, j)) / u[j][j];
      w.sub_(e.unsqueeze(1) * u[j].unsqueeze(0));
    }
    const double differing = q.to(at::kFloat).ne(fast.dequantized).to(at::kDouble).mean().item<double>();
    EXPECT_LT(differing, 0.02) << name;  // f32 and f64 fall apart at a few ties, and what follows them
    EXPECT_NEAR(dumb_loss(p.weight - q.to(at::kFloat), p.curvature.h), fast.loss, 0.02 * fast.loss) << name;
  }
}

TEST(GptqGguf, DescentNeverErrsMore) {
  const Problem p = random_problem({.out = 33, .in = 512, .tokens = 700, .seed = 3});
  for (const std::string& name : kNames) {
    GgufRounded rounded{.grid = fit_gguf_grid(p.weight, p.curvature.h.diagonal(), named(name), FitWeights::importance),
                        .values = {}};
    rounded.values = round_to(rounded.grid, p.weight);
    at::Tensor before = row_losses(p.weight - rounded.values, p.curvature.h);
    for (int sweep = 0; sweep < 3; ++sweep) {
      const at::Tensor after = descend(p.weight, p.curvature.h, 1, true, rounded);
      EXPECT_TRUE(after.le(before * (1 + 1e-5)).all().item<bool>()) << name << ", sweep " << sweep;
      const at::Tensor measured = row_losses(p.weight - rounded.values, p.curvature.h);
      EXPECT_TRUE(at::allclose(after, measured, 1e-3)) << name;
      // what it says the values are is what the blocks hold
      EXPECT_TRUE(at::equal(unpacked(to_blocks(rounded.grid, rounded.values)), rounded.values)) << name;
      before = after;
    }
  }
}

TEST(GptqGguf, GivesTheSameBytesForAnyNumberOfThreads) {
  const Problem p = random_problem({.out = 70, .in = 256, .tokens = 500, .seed = 4});
  const int threads = at::get_num_threads();
  for (const std::string name : {"Q4_K", "Q3_K", "IQ4_NL"}) {
    at::set_num_threads(1);
    const Solution one = gptq_gguf(p, {.type = &named(name)});
    at::set_num_threads(2);
    const Solution two = gptq_gguf(p, {.type = &named(name)});
    EXPECT_TRUE(at::equal(one.dequantized, two.dequantized)) << name;
  }
  at::set_num_threads(threads);
}

TEST(GptqGguf, LivesWithDeadInputsAndZeroRows) {
  Problem p = random_problem({.out = 20, .in = 256, .tokens = 500, .seed = 5});
  p.curvature.h.select(0, 17).zero_();
  p.curvature.h.select(1, 17).zero_();
  p.weight.select(0, 3).zero_();
  for (const std::string& name : kNames) {
    const Solution s = gptq_gguf(p, {.type = &named(name)});
    EXPECT_EQ(s.dead_inputs, 1) << name;
    EXPECT_TRUE(s.dequantized.isfinite().all().item<bool>()) << name;
    EXPECT_EQ(s.dequantized.select(0, 3).abs().max().item<float>(), 0) << name;
  }
  p.curvature.h.zero_();
  EXPECT_THAT(gptq_gguf(p, {.type = &named("Q4_K")}).warnings, testing::SizeIs(1));
}

TEST(GptqGguf, RefusesWhatDoesNotFit) {
  Problem p = random_problem({.out = 4, .in = 192, .seed = 6});
  EXPECT_THROW(gptq_gguf(p, {.type = &named("Q4_K")}), UsageError);
  EXPECT_THROW(rtn_gguf(p, named("NVFP4")), UnsupportedError);
  p.weight.data_ptr<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(rtn_gguf(p, named("Q4_0")), InputError);
}

}  // namespace
}  // namespace pare
