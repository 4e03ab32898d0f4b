#include "pare/quantize/gptq.h"

#include <algorithm>
#include <cmath>

#include "pare/base/error.h"
#include "pare/curvature/column_walk.h"
#include "pare/curvature/inverse_factor.h"
#include "pare/curvature/matmul.h"
#include "pare/curvature/parallel_tasks.h"
#include "pare/quantize/descent.h"
#include "pare/quantize/grid_fit.h"
#include "pare/quantize/grid_lanes.h"
#include "pare/quantize/rtn.h"
#include "pare/quantize/strips.h"

namespace pare {

namespace {

static_assert(kWalkRows == kLanes);
constexpr double kWorstIdentityGap = 0.05;  // f32 leaves 1e-3 on ill-conditioned layers

// Rounds the walk's columns to a grid; scales as [groups, rows up to a multiple of 16], so that a step reads vectors.
class GridStep final : public ColumnStep {
 public:
  // The grid is known: `order` (undefined: natural) says which column of the weight each of the walk's is.
  GridStep(const Grid& grid, const at::Tensor& order) : maxq_(static_cast<float>(grid.maxq)), group_(grid.group) {
    prepare(grid.scale.size(0), grid.scale.size(1));
    scale_.narrow(1, 0, rows_).copy_(grid.scale.t());
    zero_.narrow(1, 0, rows_).copy_(grid.zero.t());
    if (order.defined()) order_ = order.contiguous();
  }

  // The grid is fitted on the way, when the walk enters a group.
  GridStep(const GridOptions& options, int64_t out, int64_t in, const at::Tensor& importance)
      : maxq_(GridShape(options).maxq), group_(options.group), fit_(options), importance_(importance) {
    prepare(out, (in + group_ - 1) / group_);
  }

  void fix(int64_t row, int64_t column, const float* tile, int64_t ahead, float* q) override {
    const int64_t place = order_.defined() ? order_.const_data_ptr<int64_t>()[column] : column;
    const int64_t group = place / group_;
    float* scale = scale_.data_ptr<float>() + group * scale_.size(1) + row;
    float* zero = zero_.data_ptr<float>() + group * scale_.size(1) + row;
    if (fit_ && column % group_ == 0) {
      fit_group(*fit_, tile, kLanes, std::min(group_, ahead), importance_.const_data_ptr<float>() + column, scale,
                zero);
    }
    round_tile(tile, scale, zero, maxq_, q);
  }

  Grid grid() const {
    return {.scale = scale_.narrow(1, 0, rows_).t().contiguous(),
            .zero = zero_.narrow(1, 0, rows_).t().contiguous(),
            .maxq = static_cast<int>(maxq_),
            .group = group_};
  }

 private:
  void prepare(int64_t out, int64_t groups) {
    rows_ = out;
    scale_ = at::ones({groups, (out + kLanes - 1) / kLanes * kLanes}, at::kFloat);
    zero_ = at::zeros_like(scale_);
  }

  float maxq_;
  int64_t group_;
  int64_t rows_ = 0;
  std::optional<GridShape> fit_;
  at::Tensor importance_, scale_, zero_, order_;
};

// a [rows, k] times b [k, cols], the same bytes for any number of threads.
at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor left = a.contiguous(), right = b.contiguous();
  const int64_t rows = left.size(0), inner = left.size(1), cols = right.size(1);
  at::Tensor result = at::zeros({rows, cols}, at::kFloat);
  const std::vector<Strip> strips = cut_rows(rows);
  parallel_tasks(static_cast<int64_t>(strips.size()), [&](int64_t i) {
    const Strip& s = strips[i];
    add_product<float>(result.data_ptr<float>() + s.first * cols, cols, s.count, cols, inner,
                       row_major(left.data_ptr<float>() + s.first * inner, inner),
                       row_major(right.data_ptr<float>(), cols), 1.0f, Summation::blocks);
  });
  return result;
}

// W + alpha W (C - H) (H + lambda I)^-1, with the inverse as U^T U in the order of the factor.
at::Tensor shifted_target(const Problem& problem, const InverseFactor& factor, double alpha) {
  at::Tensor pull = product(problem.weight, problem.curvature.cross - problem.curvature.h);
  if (factor.order.defined()) pull = pull.index_select(1, factor.order);
  at::Tensor shift = product(product(pull, factor.u.t()), factor.u);
  if (factor.order.defined()) shift = shift.index_select(1, factor.order.argsort());
  return problem.weight + shift.mul_(alpha);
}

void check(const Problem& problem, const GptqOptions& options) {
  const at::Tensor& w = problem.weight;
  PARE_ASSERT(w.dim() == 2 && w.scalar_type() == at::kFloat && problem.curvature.h.defined());
  PARE_ASSERT(problem.curvature.h.size(0) == w.size(1) && problem.curvature.h.size(1) == w.size(1));
  PARE_ASSERT(options.block > 0);
  if (options.act_order && !options.static_groups && options.grid.group != -1) {
    throw UsageError(problem.name +
                     ": gptq: act_order with dynamic groups scatters each group's scale over the row, which no runtime "
                     "reads quickly. Use static groups, or act_order = false.");
  }
  if (options.shift != 0 && !problem.curvature.cross.defined()) {
    throw UsageError(problem.name + ": gptq: shift " + std::to_string(options.shift) +
                     " needs the original model's inputs beside the new ones, and they were not gathered.");
  }
  require_finite_weight(problem);
}

// The walk's sum of e^2 is the damped error of what it rounded, exactly: a gap means that U is not what it should be.
double identity_gap(const at::Tensor& squared_errors, const at::Tensor& loss, const at::Tensor& difference,
                    const InverseFactor& factor) {
  const double damped = total(loss) + factor.lambda * difference.square().sum(at::kDouble).item<double>();
  return damped > 0 ? std::abs(total(squared_errors) / damped - 1) : 0;
}

Solution plain_rounding(const Problem& problem, const GptqOptions& options, const std::string& reason) {
  Solution solution = rtn(problem, {.grid = options.grid});
  solution.rows_kept_rtn = problem.weight.size(0);
  solution.warnings.push_back(problem.name + ": " + reason + "; the weights are rounded to nearest instead.");
  return solution;
}

}  // namespace

Solution gptq(const Problem& problem, const GptqOptions& options) {
  check(problem, options);
  const at::Tensor h = problem.curvature.h.contiguous();
  const int64_t out = problem.weight.size(0), in = problem.weight.size(1);

  const bool static_groups = options.static_groups || options.grid.group == -1 || options.grid.group >= in;
  at::Tensor order;
  if (options.act_order && static_groups) order = h.diagonal().argsort(/*stable=*/true, 0, /*descending=*/true);
  const InverseFactor factor = inverse_factor(h, options.damp, order, problem.name);
  if (factor.failed) {
    return plain_rounding(
        problem, options,
        "no damping makes the curvature H positive definite (last tried " + std::to_string(factor.damp) + ")");
  }
  if (factor.dead_count == in) return plain_rounding(problem, options, "all of this layer's inputs are 0");

  at::Tensor target = options.shift != 0 ? shifted_target(problem, factor, options.shift) : problem.weight.clone();
  if (factor.dead_count > 0) target.index_fill_(1, factor.dead.nonzero().flatten(), 0);
  // What the walk has to beat, row by row: plain rounding as rtn() does it.
  Rounded plain{.grid = fit_grid(target, h.diagonal().contiguous(), options.grid), .values = {}};
  plain.values = decode(encode(target, plain.grid), plain.grid);
  const at::Tensor plain_loss = row_losses(target - plain.values, h);

  // Rounding column j costs e_j^2 = (w - q)^2 / U[j,j]^2: the weight of the scale search.
  at::Tensor importance = factor.u.diagonal().to(at::kDouble).pow(-2).to(at::kFloat);
  if (order.defined()) importance = importance.index_select(0, order.argsort());
  importance = importance.masked_fill(factor.dead, 0).contiguous();

  Rounded best;
  at::Tensor walked = (order.defined() ? target.index_select(1, order) : target.clone()).contiguous();
  at::Tensor squared_errors;
  if (static_groups) {
    best.grid = fit_grid(target, importance, options.grid);
    GridStep step(best.grid, order);
    squared_errors = walk_columns(walked, factor.u, options.block, step);
  } else {
    const int64_t group = options.grid.group;
    GridStep step(options.grid, out, in, importance);
    squared_errors = walk_columns(walked, factor.u, std::max<int64_t>(1, options.block / group) * group, step);
    best.grid = step.grid();
  }
  best.values = order.defined() ? walked.index_select(1, order.argsort()) : walked;

  Solution solution;
  solution.rtn_loss = total(plain_loss);
  at::Tensor loss = row_losses(target - best.values, h);
  solution.identity_gap = identity_gap(squared_errors, loss, target - best.values, factor);
  if (options.keep_better_rtn) {
    const at::Tensor worse = loss.gt(plain_loss);
    solution.rows_kept_rtn = worse.sum().item<int64_t>();
    if (solution.rows_kept_rtn > 0) take_rows(best, plain, worse);
    loss = at::minimum(loss, plain_loss);
  }
  plain = {};
  if (options.descent_sweeps > 0) {
    Rounded better = best;
    const at::Tensor better_loss =
        descend(target, h, options.descent_sweeps, options.refit_scales, options.grid, better);
    take_rows(best, better, better_loss.lt(loss));
    loss = at::minimum(loss, better_loss);
  }

  const at::Tensor codes = encode(best.values, best.grid);
  solution.weight = to_grouped_ints(codes, best.grid, options.grid);
  solution.dequantized = decode(codes, best.grid);
  // What was measured on the way is the loss of the result, unless the target was another or codes round differently.
  const bool measured = options.shift == 0 && at::equal(solution.dequantized, best.values);
  const OutputError error =
      output_error(problem.weight, solution.dequantized, h, measured ? std::optional(total(loss)) : std::nullopt);
  solution.loss = error.loss;
  solution.relative_loss = error.relative;
  solution.damp = factor.damp;
  solution.dead_inputs = factor.dead_count;
  solution.sparsity = solution.dequantized.eq(0).to(at::kDouble).mean().item<double>();
  if (solution.identity_gap > kWorstIdentityGap) {
    solution.warnings.push_back(problem.name + ": the walk's own count of its error is off by " +
                                std::to_string(100 * solution.identity_gap) +
                                " %: the curvature H is nearly singular. Use more calibration text or a larger damp.");
  }
  if (factor.damp > options.damp) {
    solution.warnings.push_back(problem.name + ": damping was raised from " + std::to_string(options.damp) + " to " +
                                std::to_string(factor.damp) +
                                " to make the curvature H positive definite: few or repetitive calibration samples?");
  }
  return solution;
}

}  // namespace pare
