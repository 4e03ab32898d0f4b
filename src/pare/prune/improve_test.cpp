#include "pare/prune/improve.h"

#include <gtest/gtest.h>

#include "pare/prune/test_problems.h"

namespace pare {
namespace {

using testing_problems::correlated;
using testing_problems::normal;

at::Tensor damped_h(const Problem& p) {
  at::Tensor h = p.curvature.h.clone();
  h.diagonal().add_(0.01 * h.diagonal().mean());
  return h;
}

// Every second input of each row, another half in odd rows.
at::Tensor some_mask(int64_t out, int64_t in) {
  return ((at::arange(out).unsqueeze(1) + at::arange(in).unsqueeze(0)) % 2).to(at::kByte).contiguous();
}

at::Tensor row_losses(const at::Tensor& w, const at::Tensor& q, const at::Tensor& h) {
  const at::Tensor d = w.to(at::kDouble) - q.to(at::kDouble);
  return at::mm(d, h.to(at::kDouble)).mul(d).sum(1);
}

// min over q on the mask of (w - q) H (w - q)^T:  q_K = H_KK^-1 H_K: w, in f64, row by row.
at::Tensor closed_form(const at::Tensor& weight, const at::Tensor& curvature, const at::Tensor& keep) {
  const at::Tensor h = curvature.to(at::kDouble);
  at::Tensor q = at::zeros(weight.sizes(), at::kDouble);
  for (int64_t r = 0; r < weight.size(0); ++r) {
    const at::Tensor kept = keep[r].nonzero().flatten();
    const at::Tensor rows = h.index_select(0, kept);
    const at::Tensor target = at::mv(rows, weight[r].to(at::kDouble));
    q[r].index_copy_(0, kept, at::linalg_solve(rows.index_select(1, kept), target));
  }
  return q;
}

TEST(Improve, SolvesForTheKeptWeightsAsTheClosedFormDoes) {
  const Problem p = correlated({.out = 99, .in = 70, .tokens = 500});  // more than one task
  const at::Tensor h = damped_h(p);
  at::Tensor keep = some_mask(99, 70), values = (p.weight * keep).contiguous();
  const at::Tensor mask_before = keep.clone();
  improve(p.weight, h, Pattern{}, {.rounds = 0, .steps = 200}, values, keep);
  EXPECT_TRUE(at::equal(keep, mask_before));
  const at::Tensor expected = closed_form(p.weight, h, keep);
  EXPECT_LT((values - expected).abs().max().item<double>(), 1e-3);
  const at::Tensor best = row_losses(p.weight, expected, h), ours = row_losses(p.weight, values, h);
  EXPECT_LT((ours - best).div(best).max().item<double>(), 1e-5);
}

TEST(Improve, NoRowEverLosesAndEveryCountStays) {
  for (const uint64_t seed : {1, 2, 3}) {
    for (const char* text : {"0.5", "2:4", "1:2", "5:10"}) {
      SCOPED_TRACE(std::to_string(seed) + " " + text);
      const Pattern pattern = Pattern::parse(text);
      const Problem p = correlated({.out = 130, .in = 120, .tokens = 100, .seed = seed});
      const at::Tensor h = damped_h(p), start = some_mask(130, 120);
      at::Tensor before = row_losses(p.weight, p.weight * start, h);
      for (const int rounds : {0, 1, 4}) {
        at::Tensor keep = start.clone(), values = (p.weight * keep).contiguous();
        improve(p.weight, h, pattern, {.rounds = rounds, .steps = 5}, values, keep);
        const at::Tensor after = row_losses(p.weight, values, h);
        EXPECT_TRUE(after.le(row_losses(p.weight, p.weight * start, h) * (1 + 1e-6)).all().item<bool>());
        EXPECT_LT(after.sum().item<double>(), before.sum().item<double>());
        before = after;
        EXPECT_TRUE(values.masked_select(keep.eq(0)).eq(0).all().item<bool>());
        EXPECT_TRUE(at::equal(keep.sum(1), start.sum(1)));
        if (pattern.structured()) {
          EXPECT_TRUE(keep.reshape({-1, pattern.m}).sum(1).eq(pattern.n).all().item<bool>());
        }
      }
    }
  }
}

// Inputs 2j and 2j + 1 nearly the same, the mask on the smaller weight of each pair: exchanging finds the larger.
TEST(Improve, FindsTheBetterMask) {
  const int64_t pairs = 24;
  at::Tensor h = at::eye(2 * pairs);
  at::Tensor weight = normal(40, 2 * pairs, 5);
  at::Tensor keep = at::zeros({40, 2 * pairs}, at::kByte);
  for (int64_t r = 0; r < 40; ++r) {
    for (int64_t j = 0; j < pairs; ++j) {
      const bool first_larger = weight[r][2 * j].abs().item<float>() > weight[r][2 * j + 1].abs().item<float>();
      keep[r][2 * j + (first_larger ? 1 : 0)] = 1;
    }
  }
  const at::Tensor worst = keep.clone();
  at::Tensor values = (weight * keep).contiguous();
  improve(weight, h, Pattern::parse("1:2"), {.rounds = 3, .steps = 2}, values, keep);
  EXPECT_TRUE(at::equal(keep, 1 - worst));
  EXPECT_TRUE(at::equal(values, weight * keep));
}

TEST(Improve, LeavesAFullMaskAlone) {
  const Problem p = correlated({.out = 10, .in = 40});
  at::Tensor keep = at::ones({10, 40}, at::kByte), values = p.weight.clone();
  improve(p.weight, damped_h(p), Pattern{.sparsity = 0}, {}, values, keep);
  EXPECT_TRUE(at::equal(values, p.weight));
  EXPECT_TRUE(keep.all().item<bool>());
}

}  // namespace
}  // namespace pare
