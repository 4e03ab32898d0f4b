// Layers for the tests of this folder: correlated inputs, as real ones are, and the method page's golden case.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>

#include "pare/base/random.h"
#include "pare/quantize/problem.h"

namespace pare::testing_problems {

inline at::Tensor normal(int64_t rows, int64_t cols, uint64_t seed) {
  const CounterRandom random(seed, "prune tests");
  const at::Tensor m = at::empty({rows, cols}, at::kFloat);
  float* data = m.data_ptr<float>();
  for (int64_t i = 0; i < m.numel(); ++i) {
    const auto uniform = [&](uint64_t k) {
      return (static_cast<double>(random.bits(2 * static_cast<uint64_t>(i) + k) >> 11) + 0.5) * 0x1p-53;
    };
    data[i] = static_cast<float>(std::sqrt(-2 * std::log(uniform(0))) * std::cos(6.283185307179586 * uniform(1)));
  }
  return m;
}

struct Shape {
  int64_t out = 33, in = 192, tokens = 300;
  uint64_t seed = 1;
};

// Weights that bf16 holds, inputs that share a few directions and differ in size from channel to channel.
inline Problem correlated(const Shape& s) {
  const int64_t directions = std::max<int64_t>(2, s.in / 8);
  const at::Tensor sizes = normal(1, s.in, s.seed + 1).mul_(0.7).exp_();
  const at::Tensor shared = at::mm(normal(s.tokens, directions, s.seed + 2), normal(directions, s.in, s.seed + 3));
  const at::Tensor x =
      (shared / std::sqrt(static_cast<double>(directions)) + 0.5 * normal(s.tokens, s.in, s.seed + 4)) * sizes;
  Problem p;
  p.name = "model.layers.7.mlp.down_proj";
  p.weight = normal(s.out, s.in, s.seed).to(at::kBFloat16).to(at::kFloat);
  p.curvature.h = at::mm(x.t(), x) * (2.0 / static_cast<double>(s.tokens));
  p.curvature.h = at::tril(p.curvature.h) + at::tril(p.curvature.h, -1).t();
  p.curvature.sum_sq = x.to(at::kDouble).square().sum(0);
  p.curvature.sum = x.to(at::kDouble).sum(0);
  p.curvature.tokens = s.tokens;
  return p;
}

inline Problem golden() {
  const at::Tensor x = at::tensor({2., -1., 0., 3.,  1., -2., 1., 1., -2., 0., 2.,  1.,  //
                                   0., 2.,  1., -1., 1., 3.,  1., 0., 3.,  1., -1., 2.},
                                  at::kFloat)
                           .reshape({4, 6});
  Problem p;
  p.name = "golden";
  p.weight = at::tensor({1., -2., .5, 3., .3, 1.5, -1., .2, -.8, .4, 2., -1.2}, at::kFloat).reshape({3, 4});
  p.curvature.h = 2 * at::mm(x, x.t());
  p.curvature.sum_sq = x.to(at::kDouble).square().sum(1);
  p.curvature.tokens = 6;
  return p;
}

}  // namespace pare::testing_problems
