#include "pare/pipeline/run/table_solver.h"

#include <algorithm>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/pipeline/run/solvers.h"
#include "pare/weights/weight_store.h"

namespace pare {
namespace {

LayerHessian head_curvature(const TableJob& job) {
  HessianAccumulator accumulator(job.decoder->config().hidden);
  for (size_t batch = 0; batch < job.states->batches(); ++batch) {
    stop_if_interrupted();
    accumulator.add(job.decoder->final_norm(job.states->get(batch)), job.plan->name);
  }
  return accumulator.finish();
}

// Of the embedding's own entries: the gradient is that of what comes out of it.
at::Tensor embedding_importance(const TableJob& job) {
  const DecoderConfig& config = job.decoder->config();
  if (!job.of_embedding.defined()) return {};
  return job.of_embedding * (config.scale_embeddings ? static_cast<double>(config.hidden) : 1.0);
}

LayerHessian curvature_of(const TableJob& job) {
  LayerHessian curvature;
  const at::Tensor importance = embedding_importance(job);
  const bool tied = job.decoder->config().tied_embeddings;
  if (job.plan->kind == "embed" && !tied) {
    if (importance.defined()) curvature.sum_sq = importance;
    return curvature;
  }
  if (job.states->batches() == 0) return curvature;
  curvature = head_curvature(job);
  if (tied) {
    const at::Tensor diagonal = curvature.h.diagonal();
    if (importance.defined()) {
      diagonal.add_(2 * importance.to(at::kFloat));
    } else {
      diagonal.add_(diagonal.mean());
    }
  }
  return curvature;
}

}  // namespace

Solution solve_table(const TableJob& job) {
  const Weight table = job.files->read(job.plan->name + ".weight");
  const LayerHessian curvature = curvature_of(job);
  const int64_t rows = table.rows(), cols = table.cols();
  Solution whole;
  double energy = 0;
  std::vector<std::byte> bytes;
  bytes.reserve(stored_bytes(job.plan->form));
  for (int64_t first = 0; first < rows; first += kTableStrip) {
    stop_if_interrupted();
    const int64_t count = std::min(kTableStrip, rows - first);
    Problem problem{job.plan->name, at::empty({count, cols}, at::kFloat), curvature};
    table.unpack_rows(first, count, {problem.weight.data_ptr<float>(), static_cast<size_t>(count * cols)});
    const Solution strip = solve(problem, *job.plan, 0);
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
  job.files->release(job.plan->name + ".weight");
  whole.relative_loss = energy > 0 ? whole.loss / energy : 0;
  whole.weight = {
      .shape = {rows, cols}, .base = GgufBlocks{job.plan->form.gguf_type, Bytes(std::move(bytes))}, .mask = {}};
  return whole;
}

}  // namespace pare
