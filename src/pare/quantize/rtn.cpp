#include "pare/quantize/rtn.h"

namespace pare {

Solution rtn(const Problem& problem, const RtnOptions& options) {
  require_finite_weight(problem);
  const at::Tensor& h = problem.curvature.h;
  at::Tensor importance;
  if (options.weighted_search && h.defined()) {
    importance = h.diagonal().contiguous();
  } else if (options.weighted_search && problem.curvature.sum_sq.defined()) {
    importance = problem.curvature.sum_sq.to(at::kFloat);
  }
  const Grid grid = fit_grid(problem.weight, importance, options.grid);
  const at::Tensor codes = encode(problem.weight, grid);
  Solution solution;
  solution.dequantized = decode(codes, grid);
  solution.weight = to_grouped_ints(codes, grid, options.grid);
  const OutputError error = output_error(problem.weight, solution.dequantized, h);
  solution.loss = solution.rtn_loss = error.loss;
  solution.relative_loss = error.relative;
  solution.sparsity = solution.dequantized.eq(0).to(at::kDouble).mean().item<double>();
  return solution;
}

}  // namespace pare
