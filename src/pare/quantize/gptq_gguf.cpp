#include "pare/quantize/gptq_gguf.h"

#include "pare/base/error.h"
#include "pare/curvature/column_walk.h"
#include "pare/curvature/inverse_factor.h"
#include "pare/quantize/gguf_descent.h"
#include "pare/quantize/rounded.h"

namespace pare {
namespace {

static_assert(kWalkRows == kLanes);

class GgufStep final : public ColumnStep {
 public:
  // `order` (undefined: natural) says which column of the weight each of the walk's is.
  GgufStep(const GgufGrid& grid, const at::Tensor& order) : grid_(grid) {
    if (order.defined()) order_ = order.contiguous();
  }

  void fix(int64_t row, int64_t column, const float* tile, int64_t, float* q) override {
    const ScalarType& type = *grid_.type;
    const int64_t place = order_.defined() ? order_.const_data_ptr<int64_t>()[column] : column;
    const int64_t sub = place / type.sub * grid_.padded() + row, block = place / type.block * grid_.padded() + row;
    simd::run_at(simd::best_level(),
                 [&type, tile, q, d = grid_.d.const_data_ptr<float>() + block,
                  dmin = grid_.dmin.const_data_ptr<float>() + block, sc = grid_.sc.const_data_ptr<float>() + sub,
                  mn = grid_.mn.const_data_ptr<float>() + sub](auto) PARE_ALWAYS_INLINE {
                   const Lanes scale = load_lanes(d) * load_lanes(sc), offset = -(load_lanes(dmin) * load_lanes(mn));
                   const Lanes inverse = scale != 0 ? 1.0f / scale : Lanes{};
                   const Lanes level = nearest_level(type, (load_lanes(tile) - offset) * inverse);
                   store_lanes(q, scale * level + offset);
                 });
  }

 private:
  const GgufGrid& grid_;
  at::Tensor order_;
};

void check(const Problem& problem, const GgmlType& type) {
  PARE_ASSERT(problem.weight.dim() == 2 && problem.weight.scalar_type() == at::kFloat);
  if (scalar_type(type) == nullptr) {
    throw UnsupportedError(problem.name + ": Pare does not round to " + std::string(type.name));
  }
  if (problem.weight.size(1) % type.block_elements != 0) {
    throw UsageError(problem.name + ": " + std::string(type.name) + " takes its inputs in blocks of " +
                     std::to_string(type.block_elements) + ", and " + std::to_string(problem.weight.size(1)) +
                     " are no multiple of that");
  }
  require_finite_weight(problem);
}

void finish(const Problem& problem, const GgufRounded& rounded, Solution& solution) {
  solution.weight = to_blocks(rounded.grid, rounded.values);
  const std::vector<float> unpacked = solution.weight.unpack();
  solution.dequantized = at::empty_like(problem.weight, at::MemoryFormat::Contiguous);
  std::copy(unpacked.begin(), unpacked.end(), solution.dequantized.data_ptr<float>());
  const OutputError error = output_error(problem.weight, solution.dequantized, problem.curvature.h);
  solution.loss = error.loss;
  solution.relative_loss = error.relative;
  solution.sparsity = solution.dequantized.eq(0).to(at::kDouble).mean().item<double>();
}

GgufRounded rounded_plainly(const Problem& problem, const at::Tensor& target, const GgmlType& type) {
  at::Tensor importance;
  if (problem.curvature.h.defined()) {
    importance = problem.curvature.h.diagonal();
  } else if (problem.curvature.sum_sq.defined()) {
    importance = problem.curvature.sum_sq;
  }
  GgufRounded rounded{.grid = fit_gguf_grid(target, importance, type, FitWeights::importance_and_size), .values = {}};
  rounded.values = round_to(rounded.grid, target);
  return rounded;
}

void take_rows(GgufRounded& into, const GgufRounded& from, const at::Tensor& mask) {
  take_rows(into.grid, from.grid, mask);
  into.values = at::where(mask.unsqueeze(1), from.values, into.values);
}

}  // namespace

Solution rtn_gguf(const Problem& problem, const GgmlType& type) {
  check(problem, type);
  Solution solution;
  finish(problem, rounded_plainly(problem, problem.weight, type), solution);
  solution.rtn_loss = solution.loss;
  return solution;
}

InverseFactor gptq_factor(const Problem& problem, const GgufGptqOptions& options) {
  const at::Tensor& h = problem.curvature.h;
  at::Tensor order;
  if (options.act_order) order = h.diagonal().argsort(/*stable=*/true, 0, /*descending=*/true);
  return inverse_factor(h.contiguous(), options.damp, order, problem.name);
}

Solution gptq_gguf(const Problem& problem, const GgufGptqOptions& options) {
  check(problem, *options.type);
  PARE_ASSERT(problem.curvature.h.defined() && problem.curvature.h.size(0) == problem.weight.size(1));
  const at::Tensor h = problem.curvature.h.contiguous();
  const InverseFactor factor = options.factor != nullptr ? *options.factor : gptq_factor(problem, options);
  const at::Tensor& order = factor.order;
  if (factor.failed || factor.dead_count == h.size(0)) {
    Solution solution = rtn_gguf(problem, *options.type);
    solution.rows_kept_rtn = problem.weight.size(0);
    solution.warnings.push_back(
        problem.name + ": " +
        (factor.failed ? "no damping makes the curvature H positive definite" : "all of this layer's inputs are 0") +
        "; the weights are rounded to nearest instead.");
    return solution;
  }
  at::Tensor target = problem.weight.clone();
  if (factor.dead_count > 0) target.index_fill_(1, factor.dead.nonzero().flatten(), 0);
  const GgufRounded plain = rounded_plainly(problem, target, *options.type);
  const at::Tensor plain_loss = row_losses(target - plain.values, h);

  // Rounding column j costs (w - q)^2 / U[j,j]^2: the weight of the choice of scales.
  at::Tensor importance = factor.u.diagonal().to(at::kDouble).pow(-2).to(at::kFloat);
  if (order.defined()) importance = importance.index_select(0, order.argsort());
  importance = importance.masked_fill(factor.dead, 0).contiguous();
  GgufRounded best{.grid = fit_gguf_grid(target, importance, *options.type, FitWeights::importance), .values = {}};
  at::Tensor walked = (order.defined() ? target.index_select(1, order) : target.clone()).contiguous();
  GgufStep step(best.grid, order);
  walk_columns(walked, factor.u, options.block, step);
  best.values = (order.defined() ? walked.index_select(1, order.argsort()) : walked).contiguous();

  Solution solution;
  solution.rtn_loss = total(plain_loss);
  solution.damp = factor.damp;
  solution.dead_inputs = factor.dead_count;
  at::Tensor loss = row_losses(target - best.values, h);
  if (options.keep_better_rtn) {
    const at::Tensor worse = loss.gt(plain_loss);
    solution.rows_kept_rtn = worse.sum().item<int64_t>();
    if (solution.rows_kept_rtn > 0) take_rows(best, plain, worse);
    loss = at::minimum(loss, plain_loss);
  }
  if (options.descent_sweeps > 0) {
    GgufRounded better = best;
    const at::Tensor better_loss = descend(target, h, options.descent_sweeps, options.refit_scales, better);
    take_rows(best, better, better_loss.lt(loss));
  }
  finish(problem, best, solution);
  if (factor.damp > options.damp) {
    solution.warnings.push_back(problem.name + ": damping was raised from " + std::to_string(options.damp) + " to " +
                                std::to_string(factor.damp) +
                                " to make the curvature H positive definite: few or repetitive calibration samples?");
  }
  return solution;
}

}  // namespace pare
