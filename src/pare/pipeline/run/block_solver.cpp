#include "pare/pipeline/run/block_solver.h"

#include <chrono>
#include <memory>
#include <optional>

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
  // token_weights: as in BlockJob, or undefined
  StageCurvature(const StageLayers& layers, const at::Tensor& token_weights)
      : layers_(&layers), need_(need_of(layers)) {
    if (token_weights.defined()) roots_ = token_weights.sqrt();
  }

  void add(at::Tensor input, at::Tensor original) {
    if (need_ == CurvatureNeed::none) return;
    if (roots_.defined()) {
      const int64_t tokens = input.numel() / input.size(-1);
      std::vector<int64_t> shape = input.sizes().vec();
      shape.back() = 1;
      const at::Tensor roots = roots_.narrow(0, seen_, tokens).view(shape);
      input = input.to(at::kFloat) * roots;
      if (original.defined()) original = original.to(at::kFloat) * roots;
      seen_ += tokens;
    }
    if (!accumulator_) {
      using Keep = HessianAccumulator::Keep;
      accumulator_ = std::make_unique<HessianAccumulator>(input.size(-1),
                                                          need_ == CurvatureNeed::full ? Keep::full : Keep::diagonal);
    }
    if (original.defined() && need_ == CurvatureNeed::full) {
      accumulator_->add(input, original, layers_->front()->name);
    } else {
      accumulator_->add(input, layers_->front()->name);
    }
  }
  LayerHessian finish() { return accumulator_ ? accumulator_->finish() : LayerHessian{}; }

 private:
  const StageLayers* layers_;
  CurvatureNeed need_;
  at::Tensor roots_;
  int64_t seen_ = 0;  // tokens
  std::unique_ptr<HessianAccumulator> accumulator_;
};

at::Tensor token_weights_of(const BlockJob& job, size_t stage) {
  return job.token_weights.empty() ? at::Tensor() : job.token_weights[stage];
}

void solve_stage(const BlockJob& job, const StageLayers& layers, LayerHessian curvature) {
  for (const LayerPlan* layer : layers) {
    stop_if_interrupted();
    if (job.known_curvature) curvature = job.known_curvature(*layer);
    const auto started = Clock::now();
    Linear& linear = job.block->linear(layer->name);
    SolvedLayer solved{layer, {}, 0};
    solved.solution = solve({layer->name, linear.weight.to(at::kFloat), curvature}, *layer, job.scale_bits);
    linear.weight = solved.solution.dequantized.to(linear.weight.scalar_type());
    solved.seconds = std::chrono::duration<double>(Clock::now() - started).count();
    job.on_solved(solved);
  }
}

void one_pass(const BlockJob& job, ActivationStore& states) {
  const auto stages = layers_by_stage(job);
  std::vector<StageCurvature> curvature;
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    curvature.emplace_back(stages[stage], token_weights_of(job, stage));
  }
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

// One model's way through a block (stages: nn/decoder.h), all batches at one stage before any goes on. Beside the
// residual stream only the input of stage 1 is kept whole: that of stages 0 and 2 is a norm away, the wide one of stage
// 3 is kept as far as it fits and computed again elsewhere.
class BlockWalk {
 public:
  BlockWalk(const DecoderBlock& block, ActivationStore& residual, uint64_t keep_bytes)
      : block_(&block),
        residual_(&residual),
        attention_(std::make_unique<ActivationStore>(residual.spill_folder())),
        keep_bytes_(keep_bytes) {
    PARE_ASSERT(block.stages().size() == 4);
  }

  // The state in which the linears of `stage` have their input. Stages and batches come in order.
  BlockState enter(size_t stage, size_t batch) {
    switch (stage) {
      case 0:
        return block_->begin(residual_->get(batch));
      case 1: {
        BlockState state = block_->begin(residual_->get(batch));
        block_->advance(state);
        attention_->push_back(state.input);
        return state;
      }
      case 2: {
        BlockState state{1, residual_->get(batch), attention_->get(batch)};
        block_->advance(state);
        residual_->set(batch, state.residual);
        return state;
      }
      default: {
        attention_.reset();
        BlockState state = block_->begin_mlp(residual_->get(batch));
        block_->advance(state);
        if (const uint64_t bytes = state.input.nbytes(); bytes <= keep_bytes_ && batch == kept_.batches()) {
          keep_bytes_ -= bytes;
          kept_.push_back(state.input);
        }
        return state;
      }
    }
  }

  void finish(size_t batch) {
    BlockState state = batch < kept_.batches() ? BlockState{3, residual_->get(batch), kept_.get(batch)}
                                               : block_->begin_mlp(residual_->get(batch));
    while (state.stage < block_->stages().size()) block_->advance(state);
    residual_->set(batch, state.residual);
  }

 private:
  const DecoderBlock* block_;
  ActivationStore* residual_;
  std::unique_ptr<ActivationStore> attention_;
  ActivationStore kept_;  // in memory, of the first batches
  uint64_t keep_bytes_;
};

void stage_by_stage(const BlockJob& job, ActivationStore& states, ActivationStore* original_states) {
  const auto stages = layers_by_stage(job);
  BlockWalk walk(*job.block, states, job.keep_bytes);
  std::optional<BlockWalk> original;
  if (original_states != nullptr) original.emplace(*job.original, *original_states, 0);
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    StageCurvature curvature(stages[stage], token_weights_of(job, stage));
    const bool cross = original && needs_original(stages[stage]);
    for (size_t batch = 0; batch < states.batches(); ++batch) {
      stop_if_interrupted();
      const BlockState state = walk.enter(stage, batch);
      BlockState beside;
      if (original) beside = original->enter(stage, batch);
      curvature.add(state.input, cross ? beside.input : at::Tensor());
    }
    solve_stage(job, stages[stage], curvature.finish());
  }
  for (size_t batch = 0; batch < states.batches(); ++batch) {
    stop_if_interrupted();
    walk.finish(batch);
    if (original) original->finish(batch);
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
