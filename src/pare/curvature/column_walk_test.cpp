#include "pare/curvature/column_walk.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "pare/base/random.h"
#include "pare/curvature/inverse_factor.h"

namespace pare {
namespace {

at::Tensor random_matrix(int64_t rows, int64_t cols, uint64_t seed) {
  const CounterRandom random(seed, "column_walk_test");
  at::Tensor m = at::empty({rows, cols}, at::kFloat);
  float* data = m.data_ptr<float>();
  for (int64_t i = 0; i < m.numel(); ++i) {
    data[i] = static_cast<float>(random.bits(static_cast<uint64_t>(i)) >> 40) / static_cast<float>(1 << 23) - 1;
  }
  return m;
}

// Correlated inputs, fewer of them than channels.
at::Tensor correlated_hessian(int64_t in, uint64_t seed) {
  const at::Tensor x = at::mm(random_matrix(in / 2 + 3, in, seed), random_matrix(in, in, seed + 100));
  return at::mm(x.t(), x) * (2.0 / static_cast<double>(x.size(0)));
}

// Rounds to multiples of 1/2.
class HalfStep final : public ColumnStep {
 public:
  void fix(int64_t, int64_t, const float* tile, int64_t, float* q) override {
    for (int r = 0; r < kWalkRows; ++r) q[r] = std::nearbyint(tile[r] * 2) / 2;
  }
};

// The definition, in f64: each column's compensation from the inverse of what remains of H', inverted afresh.
at::Tensor by_definition(const at::Tensor& weight, const at::Tensor& damped) {
  at::Tensor w = weight.to(at::kDouble).clone();
  const int64_t in = w.size(1);
  for (int64_t j = 0; j < in; ++j) {
    const at::Tensor rest = damped.narrow(0, j, in - j).narrow(1, j, in - j);
    const at::Tensor inverse = at::linalg_inv(rest);
    const at::Tensor q = (w.select(1, j) * 2).round() / 2;
    const at::Tensor e = (w.select(1, j) - q) / inverse[0][0];
    w.narrow(1, j, in - j).sub_(at::outer(e, inverse[0]));
    w.select(1, j).copy_(q);
  }
  return w;
}

at::Tensor damped(const at::Tensor& h, double damp) {
  at::Tensor d = h.to(at::kDouble).clone();
  d.diagonal().add_(damp * d.diagonal().mean());
  return d;
}

TEST(ColumnWalk, MatchesTheUnblockedDefinition) {
  for (const uint64_t seed : {1, 2, 3}) {
    SCOPED_TRACE(seed);
    const at::Tensor h = correlated_hessian(37, seed);
    const at::Tensor weight = random_matrix(19, 37, seed + 7) * 3;
    at::Tensor w = weight.clone();
    HalfStep step;
    walk_columns(w, inverse_factor(h, 0.01, {}, "test").u, 8, step);
    EXPECT_TRUE(at::equal(w.to(at::kDouble), by_definition(weight, damped(h, 0.01))));
  }
}

TEST(ColumnWalk, SumOfSquaredErrorsIsTheDampedLoss) {
  const at::Tensor h = correlated_hessian(130, 4);
  const at::Tensor weight = random_matrix(33, 130, 5) * 3;
  at::Tensor w = weight.clone();
  HalfStep step;
  const at::Tensor losses = walk_columns(w, inverse_factor(h, 0.01, {}, "test").u, 128, step);
  const at::Tensor d = weight.to(at::kDouble) - w.to(at::kDouble);
  const at::Tensor expected = at::mm(d, damped(h, 0.01)).mul(d).sum(1);
  EXPECT_LT((losses - expected).abs().div(expected).max().item<double>(), 1e-4);
}

TEST(ColumnWalk, SameBytesForAnyBlockAndNumberOfThreads) {
  const int threads = at::get_num_threads();
  const at::Tensor u = inverse_factor(correlated_hessian(301, 6), 0.01, {}, "test").u;
  const at::Tensor weight = random_matrix(211, 301, 8) * 3;
  at::Tensor expected;
  for (const int64_t block : {1, 7, 64, 128, 301, 1000}) {
    at::set_num_threads(block % 2 ? 1 : 2);
    at::Tensor w = weight.clone();
    HalfStep step;
    walk_columns(w, u, block, step);
    if (!expected.defined()) expected = w;
    EXPECT_TRUE(at::equal(w, expected)) << "block " << block;
  }
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace pare
