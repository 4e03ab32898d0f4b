// Layers made up for the tests of this folder.
#pragma once

#include <cmath>
#include <string>

#include "pare/base/random.h"
#include "pare/quantize/problem.h"

namespace pare {

inline at::Tensor random_normal(int64_t rows, int64_t cols, uint64_t seed) {
  const CounterRandom random(seed, "quantize test");
  at::Tensor values = at::empty({rows, cols}, at::kFloat);
  for (int64_t i = 0; i < values.numel(); ++i) {  // Box-Muller
    const double radius = std::sqrt(-2 * std::log(1 - random.uniform(2 * i)));
    values.data_ptr<float>()[i] = static_cast<float>(radius * std::cos(6.283185307179586 * random.uniform(2 * i + 1)));
  }
  return values;
}

struct ProblemShape {
  int64_t out = 33, in = 192, tokens = 400;
  uint64_t seed = 1;
};

// Correlated inputs, a few of them ten times as large as the others.
inline Problem random_problem(const ProblemShape& shape) {
  const at::Tensor mix = random_normal(shape.in, shape.in, shape.seed + 1000).mul_(0.7 / std::sqrt(shape.in));
  at::Tensor x = random_normal(shape.tokens, shape.in, shape.seed + 2000).matmul(mix + 0.5 * at::eye(shape.in));
  for (int64_t c = 5; c < shape.in; c += 40) x.select(1, c).mul_(10);
  Problem problem;
  problem.name = "model.layers.3.mlp.down_proj, seed " + std::to_string(shape.seed);
  problem.weight = random_normal(shape.out, shape.in, shape.seed).mul_(0.05);
  problem.curvature.h = x.t().mm(x).mul_(2.0 / static_cast<double>(shape.tokens));
  problem.curvature.h = (problem.curvature.h + problem.curvature.h.t()).mul_(0.5);
  problem.curvature.sum_sq = x.to(at::kDouble).square().sum(0);
  problem.curvature.tokens = shape.tokens;
  return problem;
}

inline at::Tensor unpacked(const Weight& weight) {
  const std::vector<float> values = weight.unpack();
  return at::tensor(values).view({weight.rows(), weight.cols()});
}

inline double dumb_loss(const at::Tensor& difference, const at::Tensor& h) {
  const at::Tensor d = difference.to(at::kDouble);
  return d.mm(h.to(at::kDouble)).mul(d).sum().item<double>();
}

}  // namespace pare
