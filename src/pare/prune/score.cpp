#include "pare/prune/score.h"

#include "pare/base/error.h"
#include "pare/prune/pruned.h"
#include "pare/prune/select.h"

namespace pare {

namespace {

Solution prune_by(const at::Tensor& scores, PruneUnit unit, const Problem& problem, const ScorePruneOptions& options) {
  const Pattern& pattern = options.pattern;
  const int64_t out = scores.size(0), in = scores.size(1);
  at::Tensor keep = at::empty({out, in}, at::kByte);
  const Selection all{scores.const_data_ptr<float>(), out, in, in, keep.data_ptr<uint8_t>(), in};
  if (pattern.structured()) {
    keep_largest_of_each_group(all, pattern.n, pattern.m);
  } else if (unit == PruneUnit::layer) {
    drop_smallest(all, removed_of(pattern, out * in));
  } else {
    drop_smallest_of_each_row(all, removed_of(pattern, in));
  }
  return pruned_solution(problem, problem.weight.contiguous(), keep, pattern, options.dtype);
}

}  // namespace

Solution magnitude(const Problem& problem, const ScorePruneOptions& options) {
  check_prunable(problem, options.pattern);
  return prune_by(problem.weight.abs().contiguous(), PruneUnit::layer, problem, options);
}

Solution wanda(const Problem& problem, const ScorePruneOptions& options) {
  check_prunable(problem, options.pattern);
  const at::Tensor& sum_sq = problem.curvature.sum_sq;
  PARE_ASSERT(sum_sq.defined() && sum_sq.numel() == problem.weight.size(1));
  const at::Tensor norms = sum_sq.to(at::kDouble).sqrt();
  // Relative to the largest: the scale of the inputs changes nothing, and products stay in f32's range.
  const double largest = norms.numel() > 0 ? norms.max().item<double>() : 0;
  const at::Tensor relative = (largest > 0 ? norms / largest : norms).to(at::kFloat);
  Solution solution = prune_by((problem.weight.abs() * relative).contiguous(), PruneUnit::row, problem, options);
  solution.dead_inputs = norms.eq(0).sum().item<int64_t>();
  return solution;
}

}  // namespace pare
