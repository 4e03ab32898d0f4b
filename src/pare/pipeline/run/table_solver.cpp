#include "pare/pipeline/run/table_solver.h"

#include <algorithm>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/pipeline/run/solvers.h"

namespace pare {
namespace {

// Of the embedding's own entries: the gradient is that of what comes out of it.
at::Tensor embedding_importance(const Table& table) {
  const DecoderConfig& config = table.decoder->config();
  if (!table.of_embedding.defined()) return {};
  return table.of_embedding * (config.scale_embeddings ? static_cast<double>(config.hidden) : 1.0);
}

// `batches` of states, read by `get`.
template <class Get>
LayerHessian curvature_from(const Table& table, size_t batches, const Get& get) {
  const bool both = table.decoder->config().tied_embeddings && !table.looked_up;
  LayerHessian curvature = table.known;
  if (curvature.sum_sq.defined()) {
    if (both) curvature.sum_sq = curvature.sum_sq + curvature.sum_sq.mean();
    return curvature;
  }
  const at::Tensor importance = embedding_importance(table);
  if (table.looked_up) {
    curvature.sum_sq = importance.defined() ? 2 * importance : at::ones({table.decoder->config().hidden}, at::kDouble);
    return curvature;
  }
  if (batches == 0) return curvature;
  HessianAccumulator accumulator(table.decoder->config().hidden);
  for (size_t batch = 0; batch < batches; ++batch) {
    stop_if_interrupted();
    accumulator.add(table.decoder->final_norm(get(batch)), table.name);
  }
  curvature = accumulator.finish();
  if (!both) return curvature;
  const at::Tensor diagonal = curvature.h.diagonal();
  if (importance.defined()) {
    diagonal.add_(2 * importance.to(at::kFloat));
  } else {
    diagonal.add_(diagonal.mean());
  }
  return curvature;
}

}  // namespace

LayerHessian table_curvature(const Table& table, const ActivationStore& states) {
  return curvature_from(table, states.batches(), [&](size_t batch) { return states.get(batch); });
}

LayerHessian table_curvature(const Table& table, const at::Tensor& states) {
  return curvature_from(table, 1, [&](size_t) { return states; });
}

Solution solve_table(const Table& job, const LayerPlan& plan, const ActivationStore& states) {
  const Weight table = job.files->read(job.name + ".weight");
  const LayerHessian curvature = table_curvature(job, states);
  const int64_t rows = table.rows(), cols = table.cols();
  Solution whole;
  double energy = 0;
  std::vector<std::byte> bytes;
  bytes.reserve(plan.form.bytes());
  for (int64_t first = 0; first < rows; first += kTableStrip) {
    stop_if_interrupted();
    const int64_t count = std::min(kTableStrip, rows - first);
    Problem problem{job.name, at::empty({count, cols}, at::kFloat), curvature};
    table.unpack_rows(first, count, {problem.weight.data_ptr<float>(), static_cast<size_t>(count * cols)});
    const Solution strip = solve(problem, plan, 0);
    const auto part = std::get<GgufBlocks>(strip.weight.base).data.span();
    bytes.insert(bytes.end(), part.begin(), part.end());
    whole.loss += strip.loss;
    whole.rtn_loss += strip.rtn_loss;
    if (strip.relative_loss > 0) energy += strip.loss / strip.relative_loss;
    whole.damp = std::max(whole.damp, strip.damp);
    whole.dead_inputs = strip.dead_inputs;
    whole.rows_kept_rtn += strip.rows_kept_rtn;
    whole.sparsity += strip.sparsity * static_cast<double>(count) / static_cast<double>(rows);
    if (first == 0) whole.warnings = strip.warnings;
  }
  job.files->release(job.name + ".weight");
  whole.relative_loss = energy > 0 ? whole.loss / energy : 0;
  whole.weight = {.shape = {rows, cols}, .base = GgufBlocks{plan.form.gguf_type, Bytes(std::move(bytes))}, .mask = {}};
  return whole;
}

}  // namespace pare
