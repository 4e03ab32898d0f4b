#include "pare/pipeline/run/block_solver.h"

#include <chrono>
#include <memory>

#include "pare/base/error.h"
#include "pare/base/interrupt.h"
#include "pare/pipeline/methods.h"
#include "pare/pipeline/run/solvers.h"

namespace pare {
namespace {

using Clock = std::chrono::steady_clock;
using StageLayers = std::vector<const LayerPlan*>;

// The linears of each stage that are to be solved.
std::vector<StageLayers> layers_by_stage(const BlockJob& job) {
  std::vector<StageLayers> stages;
  for (const auto& names : job.block->stages()) {
    StageLayers& layers = stages.emplace_back();
    for (const std::string& name : names) {
      const auto layer = job.layers.find(name);
      if (layer != job.layers.end()) layers.push_back(layer->second);
    }
  }
  return stages;
}

CurvatureNeed need_of(const StageLayers& layers) {
  CurvatureNeed need = CurvatureNeed::none;
  for (const LayerPlan* layer : layers) need = std::max(need, method_named(layer->wish.method, layer->name).need);
  return need;
}

bool needs_original(const StageLayers& layers) {
  for (const LayerPlan* layer : layers) {
    if (layer->wish.shift != 0) return true;
  }
  return false;
}

// Gathers the curvature of one stage as batches stream by; nothing when no layer of it asks.
class StageCurvature {
 public:
  explicit StageCurvature(const StageLayers& layers) : layers_(&layers), need_(need_of(layers)) {}

  void add(const at::Tensor& input, const at::Tensor& original) {
    if (need_ == CurvatureNeed::none) return;
    if (!accumulator_) {
      using Keep = HessianAccumulator::Keep;
      accumulator_ = std::make_unique<HessianAccumulator>(input.size(-1),
                                                          need_ == CurvatureNeed::full ? Keep::full : Keep::diagonal);
    }
    if (original.defined()) {
      accumulator_->add(input, original, layers_->front()->name);
    } else {
      accumulator_->add(input, layers_->front()->name);
    }
  }
  LayerHessian finish() { return accumulator_ ? accumulator_->finish() : LayerHessian{}; }

 private:
  const StageLayers* layers_;
  CurvatureNeed need_;
  std::unique_ptr<HessianAccumulator> accumulator_;
};

void solve_stage(const BlockJob& job, const StageLayers& layers, LayerHessian curvature) {
  for (const LayerPlan* layer : layers) {
    stop_if_interrupted();
    const auto started = Clock::now();
    Linear& linear = job.block->linear(layer->name);
    SolvedLayer solved{layer, {}, 0};
    solved.solution =
        solve({layer->name, linear.weight.to(at::kFloat), curvature}, layer->wish, layer->form.dtype, job.scale_bits);
    linear.weight = solved.solution.dequantized.to(linear.weight.scalar_type());
    solved.seconds = std::chrono::duration<double>(Clock::now() - started).count();
    job.on_solved(solved);
  }
}

void one_pass(const BlockJob& job, ActivationStore& states) {
  const auto stages = layers_by_stage(job);
  std::vector<StageCurvature> curvature(stages.begin(), stages.end());
  for (size_t batch = 0; batch < states.batches(); ++batch) {
    stop_if_interrupted();
    BlockState state = job.block->begin(states.get(batch));
    for (size_t stage = 0; stage < stages.size(); ++stage) {
      curvature[stage].add(state.input, {});
      if (stage + 1 < stages.size()) job.block->advance(state);
    }
  }
  for (size_t stage = 0; stage < stages.size(); ++stage) solve_stage(job, stages[stage], curvature[stage].finish());
  forward_block(*job.block, states);
}

void stage_by_stage(const BlockJob& job, ActivationStore& states, ActivationStore* original_states) {
  const auto stages = layers_by_stage(job);
  PARE_ASSERT(stages.size() >= 2);
  const size_t last = stages.size() - 1;
  // Between stages 1 and `last` the input is kept beside the residual; it is as wide. Before stage 1 it is the norm
  // of the residual, and the input of `last` is computed from the one before: neither is kept.
  ActivationStore inputs(states.spill_folder());
  ActivationStore original_inputs(states.spill_folder());
  const auto restore = [&](const DecoderBlock& block, const ActivationStore& residual, const ActivationStore& input,
                           size_t stage, size_t batch) {
    if (stage == 0) return block.begin(residual.get(batch));
    return BlockState{stage, residual.get(batch), input.get(batch)};
  };
  const auto keep = [](ActivationStore& residual, ActivationStore& input, const BlockState& state, size_t batch) {
    residual.set(batch, state.residual);
    if (batch < input.batches()) {
      input.set(batch, state.input);
    } else {
      input.push_back(state.input);
    }
  };
  for (size_t stage = 0; stage <= last; ++stage) {
    StageCurvature curvature(stages[stage]);
    const bool cross = original_states != nullptr && needs_original(stages[stage]);
    for (size_t batch = 0; batch < states.batches(); ++batch) {
      stop_if_interrupted();
      const size_t from = stage == 0 ? 0 : stage - 1;
      BlockState state = restore(*job.block, states, inputs, from, batch);
      BlockState original;
      if (original_states != nullptr) original = restore(*job.original, *original_states, original_inputs, from, batch);
      if (stage > 0) {
        job.block->advance(state);
        if (original_states != nullptr) job.original->advance(original);
      }
      curvature.add(state.input, cross ? original.input : at::Tensor());
      if (stage == 0 || stage == last) continue;
      keep(states, inputs, state, batch);
      if (original_states != nullptr) keep(*original_states, original_inputs, original, batch);
    }
    solve_stage(job, stages[stage], curvature.finish());
  }
  for (size_t batch = 0; batch < states.batches(); ++batch) {
    const auto finish = [&](const DecoderBlock& block, ActivationStore& residual, const ActivationStore& input) {
      BlockState state = restore(block, residual, input, last - 1, batch);
      block.advance(state);
      block.advance(state);
      residual.set(batch, state.residual);
    };
    finish(*job.block, states, inputs);
    if (original_states != nullptr) finish(*job.original, *original_states, original_inputs);
  }
}

}  // namespace

void forward_block(const DecoderBlock& block, ActivationStore& states) {
  for (size_t batch = 0; batch < states.batches(); ++batch) {
    stop_if_interrupted();
    states.set(batch, block.forward(states.get(batch)));
  }
}

void solve_block(const BlockJob& job, ActivationStore& states, ActivationStore* original_states) {
  if (states.batches() == 0) {
    for (const StageLayers& layers : layers_by_stage(job)) solve_stage(job, layers, {});
  } else if (job.true_sequential) {
    stage_by_stage(job, states, original_states);
  } else {
    one_pass(job, states);
  }
}

}  // namespace pare
