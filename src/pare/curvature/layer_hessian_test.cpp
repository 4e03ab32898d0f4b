#include "pare/curvature/layer_hessian.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "pare/base/error.h"
#include "pare/base/random.h"

namespace pare {
namespace {

at::Tensor random_tensor(int64_t rows, int64_t cols, uint64_t seed) {
  const CounterRandom random(seed, "hessian test");
  at::Tensor x = at::empty({rows, cols}, at::kFloat);
  for (int64_t i = 0; i < x.numel(); ++i) x.data_ptr<float>()[i] = static_cast<float>(random.uniform(i) * 2 - 0.9);
  return x;
}

at::Tensor random_integers(int64_t rows, int64_t cols, uint64_t seed) {
  return random_tensor(rows, cols, seed).mul_(4).round_();
}

LayerHessian gather(const at::Tensor& x, int64_t batch) {
  HessianAccumulator sums(x.size(1));
  for (int64_t t = 0; t < x.size(0); t += batch) sums.add(x.narrow(0, t, std::min(batch, x.size(0) - t)), "layer");
  return sums.finish();
}

TEST(LayerHessian, IsTwiceTheMeanOuterProduct) {
  for (const int64_t in : {1, 7, 129, 700}) {
    SCOPED_TRACE("in " + std::to_string(in));
    const at::Tensor x = random_tensor(2500, in, 1);
    const LayerHessian result = gather(x, 1000);
    const at::Tensor x64 = x.to(at::kDouble);
    const at::Tensor expected = x64.t().mm(x64).mul(2.0 / 2500);
    // f32 sums of 2048 products of size about 1/3: relative error well below 1e-5 of the diagonal
    EXPECT_LT((result.h - expected).abs().max().item<double>(), 1e-5 * expected.diagonal().max().item<double>());
    EXPECT_LT((result.sum - x64.sum(0)).abs().max().item<double>(), 1e-9);
    EXPECT_LT((result.sum_sq - x64.square().sum(0)).abs().max().item<double>(), 1e-9);
    EXPECT_EQ(result.tokens, 2500);
    EXPECT_FALSE(result.cross.defined());
  }
}

TEST(LayerHessian, IsSymmetricBitForBit) {
  const at::Tensor h = gather(random_tensor(2100, 333, 2), 512).h;
  EXPECT_TRUE(at::equal(h, h.t()));
}

TEST(LayerHessian, SameBytesForAnyBatchSize) {
  const at::Tensor x = random_tensor(5000, 200, 3);
  const LayerHessian whole = gather(x, 5000);
  for (const int64_t batch : {1, 17, 2047, 2048, 2049}) {
    SCOPED_TRACE("batch " + std::to_string(batch));
    const LayerHessian pieces = gather(x, batch);
    EXPECT_TRUE(at::equal(whole.h, pieces.h));
    EXPECT_TRUE(at::equal(whole.sum, pieces.sum));
    EXPECT_TRUE(at::equal(whole.sum_sq, pieces.sum_sq));
  }
}

TEST(LayerHessian, SameBytesOnOneAndManyThreads) {
  const int threads = at::get_num_threads();
  for (const int64_t in : {60, 97, 576, 1536}) {  // 60: a single tile
    SCOPED_TRACE("in " + std::to_string(in));
    const at::Tensor x = random_tensor(2400, in, 4);
    at::set_num_threads(1);
    const LayerHessian one = gather(x, 600);
    for (const int many : {2, 3}) {
      at::set_num_threads(many);
      EXPECT_TRUE(at::equal(one.h, gather(x, 600).h)) << many << " threads";
    }
    at::set_num_threads(threads);
  }
}

TEST(LayerHessian, IsExactForSmallIntegersInAnyOrder) {
  const at::Tensor x = random_integers(4096, 96, 5);  // 2 / 4096 is a power of two: scaling is exact too
  const at::Tensor h = gather(x, 300).h;
  const at::Tensor x64 = x.to(at::kDouble);
  EXPECT_TRUE(at::equal(h, x64.t().mm(x64).mul(2.0 / 4096).to(at::kFloat)));
  EXPECT_TRUE(at::equal(h, gather(x.flip({0}), 4096).h));
}

TEST(LayerHessian, TakesBatchesOfSequencesInBf16) {
  const at::Tensor x = random_integers(24, 40, 6);
  HessianAccumulator sums(40);
  sums.add(x.to(at::kBFloat16).view({2, 12, 40}), "layer");
  EXPECT_TRUE(at::equal(sums.finish().h, gather(x, 24).h));
}

TEST(LayerHessian, KeepsOnlyTheDiagonalWhenAsked) {
  const at::Tensor x = random_tensor(2500, 33, 7);
  HessianAccumulator sums(33, HessianAccumulator::Keep::diagonal);
  sums.add(x, "layer");
  EXPECT_EQ(sums.tokens(), 2500);
  const LayerHessian result = sums.finish();
  EXPECT_FALSE(result.h.defined());
  EXPECT_TRUE(at::equal(result.sum_sq, gather(x, 2500).sum_sq));
}

TEST(LayerHessian, CrossPairsOriginalInputsWithTheNewOnes) {
  const at::Tensor x = random_integers(3000, 70, 8), x0 = random_integers(3000, 70, 9);
  HessianAccumulator sums(70);
  sums.add(x.narrow(0, 0, 1100), x0.narrow(0, 0, 1100), "layer");
  sums.add(x.narrow(0, 1100, 1900), x0.narrow(0, 1100, 1900), "layer");
  const LayerHessian result = sums.finish();
  const at::Tensor expected = x0.to(at::kDouble).t().mm(x.to(at::kDouble)).mul(2.0 / 3000);
  EXPECT_LT((result.cross - expected).abs().max().item<double>(), 1e-6 * expected.abs().max().item<double>());
  EXPECT_TRUE(at::equal(result.h, gather(x, 3000).h));
}

TEST(LayerHessian, NamesTheTokenAndChannelOfANonFiniteInput) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    HessianAccumulator sums(20);
    sums.add(random_tensor(3000, 20, 10), "model.layers.7.mlp.down_proj");
    at::Tensor x = random_tensor(500, 20, 11);
    x[41][13] = bad;
    try {
      sums.add(x, "model.layers.7.mlp.down_proj");
      FAIL() << "accepted";
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("model.layers.7.mlp.down_proj"),
                                               testing::HasSubstr("token 3041"), testing::HasSubstr("channel 13"),
                                               testing::HasSubstr(std::isnan(bad) ? "NaN" : "infinite")));
    }
  }
}

}  // namespace
}  // namespace pare
