#include "pare/quantize/gptq_gguf.h"

#include "pare/base/error.h"
#include "pare/curvature/column_walk.h"
#include "pare/curvature/inverse_factor.h"
#include "pare/quantize/gguf_descent.h"
#include "pare/quantize/lattice_metric.h"
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
    const ScalarType& type = *grid_.layout.scalar;
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

// cost(e) = e M e^T of an error e in eight columns, the columns after them compensated: M = (U_GG^T U_GG)^-1 for
// each group G in the order of the walk, [groups, 8, 8] f32. See gptq.h for U.
at::Tensor group_metrics(const at::Tensor& u) {
  const int64_t groups = u.size(0) / kLatticeGroup;
  at::Tensor corners = at::empty({groups, kLatticeGroup, kLatticeGroup}, at::kDouble);
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t at = g * kLatticeGroup;
    corners.select(0, g).copy_(u.narrow(0, at, kLatticeGroup).narrow(1, at, kLatticeGroup));
  }
  const at::Tensor inverse = at::linalg_inv(corners);
  return inverse.matmul(inverse.transpose(1, 2)).to(at::kFloat).contiguous();
}

// Eight columns at once: their codes are chosen when the first is reached.
class LatticeStep final : public ColumnStep {
 public:
  // order, shift as GgufStep; metrics: group_metrics().
  LatticeStep(const GgufGrid& grid, const at::Tensor& order, const at::Tensor& metrics)
      : grid_(grid), code_(*grid.layout.lattice), metrics_(metrics) {
    if (order.defined()) order_ = order.contiguous();
    chosen_.resize(static_cast<size_t>(grid.columns * grid.padded()));
  }

  void fix(int64_t row, int64_t column, const float* tile, int64_t ahead, float* q) override {
    float* const values = chosen_.data() + column * grid_.padded() + row;  // of the column, then of those after it
    if (column % kLatticeGroup == 0) {
      PARE_ASSERT(ahead >= kLatticeGroup);
      const int64_t place = order_.defined() ? order_.const_data_ptr<int64_t>()[column] : column;
      choose(row, place, metrics_.const_data_ptr<float>() + column * kLatticeGroup, tile, values);
    }
    std::copy_n(values, kLanes, q);
  }

 private:
  void choose(int64_t row, int64_t place, const float* metric, const float* target, float* values) const {
    const int64_t sub = place / code_.sub * grid_.padded() + row, block = place / code_.block * grid_.padded() + row;
    alignas(64) float best[kLatticeGroup * kLanes];
    nearest_in_metric({&code_, metric, kLatticeGroup, grid_.d.const_data_ptr<float>() + block,
                       grid_.sc.const_data_ptr<float>() + sub, grid_.mn.const_data_ptr<float>() + sub},
                      target, best);
    for (int e = 0; e < kLatticeGroup; ++e) std::copy_n(best + e * kLanes, kLanes, values + e * grid_.padded());
  }

  const GgufGrid& grid_;
  const LatticeCode& code_;
  at::Tensor order_, metrics_;
  std::vector<float> chosen_;  // [columns of the walk][rows]
};

void check(const Problem& problem, const GgmlType& type) {
  PARE_ASSERT(problem.weight.dim() == 2 && problem.weight.scalar_type() == at::kFloat);
  if (!gguf_layout(type)) {
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
  constexpr FitWeights kBy = FitWeights::importance_and_size;
  GgufRounded rounded{.grid = fit_gguf_grid(target, importance, type, kBy), .values = {}};
  rounded.values = round_to(rounded.grid, target, importance, kBy);
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

int64_t columns_together(const GgmlType& type) {
  return gguf_layout(type).value().group;
}

InverseFactor gptq_factor(const Problem& problem, const GgufGptqOptions& options) {
  const at::Tensor& h = problem.curvature.h;
  at::Tensor order;
  if (options.act_order) {
    const int64_t together = columns_together(*options.type);
    const at::Tensor size = h.diagonal().reshape({-1, together}).sum(1);
    order = size.argsort(/*stable=*/true, 0, /*descending=*/true);
    order = (order.unsqueeze(1) * together + at::arange(together)).flatten();
  }
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

  // Rounding column j costs (w - q)^2 / U[j,j]^2, eight columns what group_metrics() has: the weights of the choice of
  // scales.
  const bool lattice = columns_together(*options.type) > 1;
  const at::Tensor metrics = lattice ? group_metrics(factor.u) : at::Tensor();
  at::Tensor importance =
      lattice ? metrics.diagonal(0, 1, 2).flatten() : factor.u.diagonal().to(at::kDouble).pow(-2).to(at::kFloat);
  if (order.defined()) importance = importance.index_select(0, order.argsort());
  importance = importance.masked_fill(factor.dead, 0).contiguous();
  GgufRounded best{.grid = fit_gguf_grid(target, importance, *options.type, FitWeights::importance), .values = {}};
  at::Tensor walked = (order.defined() ? target.index_select(1, order) : target.clone()).contiguous();
  if (lattice) {
    LatticeStep step(best.grid, order, metrics);
    walk_columns(walked, factor.u, options.block, step);
  } else {
    GgufStep step(best.grid, order);
    walk_columns(walked, factor.u, options.block, step);
  }
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
