#include "pare/prune/sparsegpt.h"

#include <algorithm>
#include <cmath>

#include "pare/base/error.h"
#include "pare/curvature/column_walk.h"
#include "pare/curvature/inverse_factor.h"
#include "pare/curvature/parallel_tasks.h"
#include "pare/prune/masked_grid.h"
#include "pare/prune/pruned.h"
#include "pare/prune/select.h"

namespace pare {

namespace {

// Chooses what goes as the walk comes to it; what stays is rounded by `Round`.
template <class Round>
class ChooseStep final : public ColumnStep {
 public:
  ChooseStep(const Pattern& pattern, const at::Tensor& u, const at::Tensor& keep, Round round)
      : pattern_(pattern),
        keep_(keep.data_ptr<uint8_t>()),
        out_(keep.size(0)),
        in_(keep.size(1)),
        inverse_pivot_(at::reciprocal(u.diagonal()).contiguous()),
        inverse_(inverse_pivot_.const_data_ptr<float>()),
        round_(std::move(round)) {}

  void enter(const at::Tensor& w, int64_t first, int64_t count) override {
    if (pattern_.structured()) return;
    const at::Tensor scores = at::empty({out_, count}, at::kFloat);
    const float* weights = w.const_data_ptr<float>() + first;
    float* score = scores.data_ptr<float>();
    parallel_tasks((out_ + 63) / 64, [&](int64_t task) {
      for (int64_t r = task * 64; r < std::min(out_, task * 64 + 64); ++r) {
        for (int64_t c = 0; c < count; ++c) score[r * count + c] = std::abs(weights[r * in_ + c]) * inverse_[first + c];
      }
    });
    drop_smallest({score, out_, count, count, keep_ + first, in_}, removed_of(pattern_, out_ * count));
  }

  void fix(int64_t row, int64_t column, const float* tile, int64_t ahead, float* q) override {
    const int64_t rows = std::min<int64_t>(kWalkRows, out_ - row);
    uint8_t* keep = keep_ + row * in_ + column;
    if (pattern_.structured() && column % pattern_.m == 0) choose_group(tile, ahead, rows, column, keep);
    round_(row, column, tile, q);
    for (int64_t r = 0; r < rows; ++r) q[r] = keep[r * in_] ? q[r] : 0.0f;
  }

 private:
  void choose_group(const float* tile, int64_t ahead, int64_t rows, int64_t column, uint8_t* keep) const {
    const int m = pattern_.m;
    float scores[kWalkRows * Pattern::kLargestM];
    PARE_ASSERT(ahead >= m && m <= Pattern::kLargestM);
    for (int k = 0; k < m; ++k) {
      for (int r = 0; r < kWalkRows; ++r) scores[r * m + k] = std::abs(tile[k * kWalkRows + r]) * inverse_[column + k];
    }
    keep_largest_of_each_group({scores, rows, m, m, keep, in_}, pattern_.n, m);
  }

  Pattern pattern_;
  uint8_t* keep_;  // [out, in]
  int64_t out_, in_;
  at::Tensor inverse_pivot_;
  const float* inverse_;  // [in] 1 / U[j,j]
  Round round_;
};

struct Pruned {
  at::Tensor values;  // [out, in] f32, 0 off the mask
  at::Tensor keep;    // [out, in] u8
};

template <class Round>
Pruned walk(const at::Tensor& w, const at::Tensor& u, const SparseGptOptions& options, Round round) {
  const int64_t in = w.size(1), m = options.pattern.m;
  int64_t block = std::clamp<int64_t>(options.block, 1, in);
  if (options.pattern.structured()) block = std::max<int64_t>(block / m, 1) * m;  // groups do not straddle blocks
  Pruned result{.values = w.clone(), .keep = at::empty(w.sizes(), at::kByte)};
  ChooseStep step(options.pattern, u, result.keep, std::move(round));
  walk_columns(result.values, u, block, step);
  return result;
}

Solution on_grid(const Problem& problem, const at::Tensor& values, const at::Tensor& keep, const Grid& grid,
                 const SparseGptOptions& options) {
  Solution solution;
  const at::Tensor codes = encode(values, grid);
  solution.weight = to_grouped_ints(codes, grid, options.grid);
  solution.weight.mask = to_mask(keep, options.pattern);
  solution.dequantized = decode(codes, grid).masked_fill(keep.eq(0), 0);
  measure(problem, solution);
  return solution;
}

Solution solve(const Problem& problem, const SparseGptOptions& options, const InverseFactor& factor) {
  const at::Tensor importance = problem.curvature.h.diagonal().contiguous();
  const at::Tensor w = problem.weight.masked_fill(factor.dead.unsqueeze(0), 0).contiguous();
  const auto to_dtype = [&](int64_t, int64_t, const float* src, float* q) {
    round_to(options.dtype, src, kWalkRows, q);
  };
  const auto as_it_is = [](int64_t, int64_t, const float* src, float* q) { std::copy(src, src + kWalkRows, q); };

  if (factor.failed || options.improve.steps <= 0) {
    if (!options.quantize) {
      const Pruned p = walk(w, factor.u, options, to_dtype);
      return pruned_solution(problem, p.values, p.keep, options.pattern, options.dtype);
    }
    const Grid grid = fit_grid(w, importance, options.grid);
    const Pruned p = walk(w, factor.u, options, GridRounding(grid));
    return on_grid(problem, p.values, p.keep, grid, options);
  }
  Pruned p = walk(w, factor.u, options, as_it_is);
  const at::Tensor h = damped(problem.curvature.h, factor);
  improve(w, h, options.pattern, options.improve, p.values, p.keep);
  if (!options.quantize) return pruned_solution(problem, p.values, p.keep, options.pattern, options.dtype);
  const Grid grid = fit_grid(p.values, importance, options.grid);
  walk_masked(grid, factor.u, p.keep, p.values);
  for (int sweep = 0; sweep < options.descent_sweeps; ++sweep) descend_masked(w, h, grid, p.keep, p.values);
  return on_grid(problem, p.values, p.keep, grid, options);
}

}  // namespace

Solution sparsegpt(const Problem& problem, const SparseGptOptions& options) {
  check_prunable(problem, options.pattern);
  PARE_ASSERT(problem.curvature.h.defined());
  InverseFactor factor = inverse_factor(problem.curvature.h, options.damp, at::Tensor(), problem.name);
  std::vector<std::string> warnings;
  if (factor.failed) {
    warnings.push_back(problem.name +
                       ": no damping makes the curvature H positive definite; pruned by |w| sqrt(H[j,j]) without "
                       "making up for it. Give more, or more varied, calibration text.");
    const at::Tensor diagonal = problem.curvature.h.diagonal();
    const at::Tensor live = at::where(diagonal > 0, diagonal, at::ones_like(diagonal));
    factor.u = at::diag(live.rsqrt()).contiguous();
  } else if (factor.damp > options.damp) {
    warnings.push_back(problem.name + ": damping was raised from " + std::to_string(options.damp) + " to " +
                       std::to_string(factor.damp) +
                       " to make the curvature H positive definite: few or repetitive calibration samples?");
  }
  Solution solution = solve(problem, options, factor);
  solution.damp = factor.damp;
  solution.dead_inputs = factor.dead_count;
  solution.warnings = std::move(warnings);
  return solution;
}

}  // namespace pare
