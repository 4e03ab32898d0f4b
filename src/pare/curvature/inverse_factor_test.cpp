#include "pare/curvature/inverse_factor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "pare/base/error.h"
#include "pare/base/random.h"

namespace pare {
namespace {

// H = 2/tokens X^T X of correlated inputs whose sizes differ by a factor of 30.
at::Tensor random_curvature(int64_t in, int64_t tokens, uint64_t seed) {
  const CounterRandom random(seed, "inverse factor test");
  at::Tensor x = at::empty({tokens, in}, at::kDouble);
  double* values = x.data_ptr<double>();
  for (int64_t t = 0; t < tokens; ++t) {
    double state = 0;
    for (int64_t c = 0; c < in; ++c) {
      state = 0.8 * state + random.uniform(t * in + c) - 0.5;
      values[t * in + c] = state * (1 + 29 * random.uniform(1'000'000'000 + c));
    }
  }
  return x.t().mm(x).mul(2.0 / static_cast<double>(tokens)).to(at::kFloat);
}

at::Tensor damped_inverse(const at::Tensor& h, double damp) {
  at::Tensor a = h.to(at::kDouble).clone();
  a.diagonal().add_(damp * a.diagonal().mean().item<double>());
  return at::linalg_inv(a);
}

void expect_factor_of(const InverseFactor& factor, const at::Tensor& inverse, double tolerance) {
  ASSERT_FALSE(factor.failed);
  const at::Tensor u = factor.u.to(at::kDouble);
  EXPECT_TRUE(at::equal(u, u.triu()));
  EXPECT_GT(u.diagonal().min().item<double>(), 0);
  const at::Tensor scale = inverse.diagonal().sqrt();
  const at::Tensor error = (u.t().mm(u) - inverse).div(scale.unsqueeze(0)).div(scale.unsqueeze(1));
  EXPECT_LT(error.abs().max().item<double>(), tolerance);
}

TEST(InverseFactor, SquaresToTheDampedInverse) {
  for (const int64_t in : {1, 2, 127, 129, 300, 577}) {
    SCOPED_TRACE("in " + std::to_string(in));
    const at::Tensor h = random_curvature(in, 2 * in + 10, 1);
    const InverseFactor factor = inverse_factor(h, 0.01, {}, "layer");
    EXPECT_EQ(factor.damp, 0.01);
    EXPECT_FALSE(factor.used_fp64);
    expect_factor_of(factor, damped_inverse(h, 0.01), 2e-4);  // condition about 1e4 in f32
  }
}

TEST(InverseFactor, FollowsTheOrderGiven) {
  const at::Tensor h = random_curvature(200, 500, 2);
  const at::Tensor order = h.diagonal().argsort(/*stable=*/true, 0, /*descending=*/true);
  const InverseFactor factor = inverse_factor(h, 0.01, order, "layer");
  const at::Tensor permuted = h.index_select(0, order).index_select(1, order);
  EXPECT_TRUE(at::equal(factor.u, inverse_factor(permuted, 0.01, {}, "layer").u));
  expect_factor_of(factor, damped_inverse(permuted, 0.01), 2e-4);
}

TEST(InverseFactor, DoesNotCareForTheUnitOfH) {
  const at::Tensor h = random_curvature(150, 400, 3);
  const at::Tensor u = inverse_factor(h, 0.01, {}, "layer").u;
  EXPECT_TRUE(at::equal(u, inverse_factor(h * 16, 0.01, {}, "layer").u * 4));
}

TEST(InverseFactor, RevivesDeadInputsAndCountsThem) {
  at::Tensor h = random_curvature(140, 400, 4);
  for (const int64_t dead : {3, 139}) {
    h.select(0, dead).zero_();
    h.select(1, dead).zero_();
  }
  const InverseFactor factor = inverse_factor(h, 0.01, {}, "layer");
  EXPECT_EQ(factor.dead_count, 2);
  EXPECT_TRUE(factor.dead[3].item<bool>() && factor.dead[139].item<bool>());
  at::Tensor revived = h.clone();
  const double mean = h.diagonal().sum().item<double>() / 138;
  for (const int64_t dead : {3, 139}) revived[dead][dead] = mean;
  expect_factor_of(factor, damped_inverse(revived, 0.01), 2e-4);
}

TEST(InverseFactor, AllInputsDeadIsTheIdentity) {
  const InverseFactor factor = inverse_factor(at::zeros({5, 5}), 0, {}, "layer");
  EXPECT_EQ(factor.dead_count, 5);
  EXPECT_TRUE(at::equal(factor.u, at::eye(5)));
}

TEST(InverseFactor, FallsBackToF64WhenF32LosesThePivots) {
  const at::Tensor h = random_curvature(400, 40, 5);  // rank 40: the other eigenvalues are what damping makes them
  const InverseFactor factor = inverse_factor(h, 1e-6, {}, "layer");
  EXPECT_TRUE(factor.used_fp64);
  EXPECT_EQ(factor.damp, 1e-6);
  expect_factor_of(factor, damped_inverse(h, factor.damp), 1e-4);
}

TEST(InverseFactor, GrowsTheDampingWhenHIsNotPositive) {
  at::Tensor h = random_curvature(60, 200, 6);
  const double mean = h.diagonal().mean().item<double>();
  h -= 0.5 * mean * at::eye(60);  // smallest eigenvalue near -0.5 mean
  h.diagonal().clamp_min_(1e-3 * mean);
  const InverseFactor factor = inverse_factor(h, 0.01, {}, "layer");
  ASSERT_FALSE(factor.failed);
  EXPECT_GE(factor.damp, 0.1);
}

TEST(InverseFactor, SaysWhenNoDampingHelps) {
  const at::Tensor h = at::full({8, 8}, 1e6f) + at::eye(8) * (-1e6f + 1e-3f);  // off-diagonal 1e9 times the diagonal
  const InverseFactor factor = inverse_factor(h, 0.01, {}, "layer");
  EXPECT_TRUE(factor.failed);
  EXPECT_FALSE(factor.u.defined());
}

TEST(InverseFactor, SameBytesOnOneAndManyThreads) {
  const int threads = at::get_num_threads();
  const at::Tensor h = random_curvature(600, 1000, 7);
  at::set_num_threads(1);
  const at::Tensor one = inverse_factor(h, 0.01, {}, "layer").u;
  for (const int many : {2, 3}) {
    at::set_num_threads(many);
    EXPECT_TRUE(at::equal(one, inverse_factor(h, 0.01, {}, "layer").u)) << many << " threads";
  }
  at::set_num_threads(threads);
}

TEST(InverseFactor, NamesThePlaceOfANonFiniteValue) {
  at::Tensor h = random_curvature(30, 60, 8);
  h[4][17] = std::numeric_limits<float>::infinity();
  try {
    inverse_factor(h, 0.01, {}, "model.layers.3.mlp.down_proj");
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(),
                testing::AllOf(testing::HasSubstr("model.layers.3.mlp.down_proj"), testing::HasSubstr("[4, 17]")));
  }
}

}  // namespace
}  // namespace pare
