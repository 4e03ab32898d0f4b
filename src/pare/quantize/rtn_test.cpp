#include "pare/quantize/rtn.h"

#include <gtest/gtest.h>

#include "pare/quantize/test_problems.h"

namespace pare {
namespace {

TEST(Rtn, EightBitsAreNearlyTheWeight) {
  const Problem p = random_problem({.out = 20, .in = 200, .seed = 1});
  const Solution s = rtn(p, {.grid = {.bits = 8, .group = -1}});
  EXPECT_LT(s.relative_loss, 2e-4);
  EXPECT_TRUE(at::equal(unpacked(s.weight), s.dequantized));
  const double loss = dumb_loss(p.weight - s.dequantized, p.curvature.h);
  EXPECT_NEAR(s.loss, loss, 1e-4 * loss);
}

TEST(Rtn, NeedsNoCurvature) {
  Problem p = random_problem({.out = 20, .in = 200, .seed = 2});
  p.curvature = {};
  const Solution s = rtn(p, {.grid = {.bits = 4, .group = 32}});
  const double squares = (p.weight - s.dequantized).to(at::kDouble).square().sum().item<double>();
  EXPECT_NEAR(s.loss, squares, 1e-6 * squares);
  EXPECT_LT(s.relative_loss, 0.01);
}

TEST(Rtn, WeighsTheSearchByTheCurvature) {
  const Problem p = random_problem({.out = 60, .in = 256, .seed = 3});
  const GridOptions grid{.bits = 3, .group = 64, .symmetric = false};
  const at::Tensor diagonal = p.curvature.h.diagonal();
  const auto weighted = [&](bool search) {
    const at::Tensor d = p.weight - rtn(p, {.grid = grid, .weighted_search = search}).dequantized;
    return (d.square() * diagonal).sum().item<double>();
  };
  EXPECT_LT(weighted(true), 0.95 * weighted(false));
}

TEST(Rtn, IsIdempotent) {
  Problem p = random_problem({.out = 20, .in = 128, .seed = 4});
  const RtnOptions options{.grid = {.bits = 4, .group = 32, .search = false}};
  p.curvature = {};
  const Grid grid = fit_grid(p.weight, {}, options.grid);
  const at::Tensor once = decode(encode(p.weight, grid), grid);
  EXPECT_TRUE(at::equal(decode(encode(once, grid), grid), once));
}

}  // namespace
}  // namespace pare
