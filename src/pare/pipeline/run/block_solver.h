// One block: gather curvature, solve its linears, move the hidden states on.
//
// True-sequential costs no forward pass more than one pass would: the block is walked in its stages (nn/decoder.h),
// each stage's linears are solved as soon as their input is known, and the walk goes on with the compressed ones. Only
// the wide input of the last stage is computed twice, for those batches whose first copy did not fit (`keep_bytes`).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "pare/nn/decoder.h"
#include "pare/pipeline/plan.h"
#include "pare/pipeline/run/activation_store.h"
#include "pare/quantize/problem.h"

namespace pare {

struct SolvedLayer {
  const LayerPlan* plan;
  Solution solution;
  double seconds = 0;
};

struct BlockJob {
  DecoderBlock* block;                             // its linears are replaced by the compressed ones
  const DecoderBlock* original = nullptr;          // with `original_states`: for the shifted target
  std::map<std::string, const LayerPlan*> layers;  // by name; linears that are not here stay as they are
  bool true_sequential = true;
  uint64_t keep_bytes = 0;  // of the last stage's inputs, instead of computing them twice; the same bytes result
  int scale_bits = 0;
  // By stage: how much each token counts in the curvature, [tokens], 1 on average. Empty: all alike.
  std::vector<at::Tensor> token_weights = {};
  // Without states: what is known of a layer's inputs from elsewhere (an importance matrix). Empty: nothing.
  std::function<LayerHessian(const LayerPlan&)> known_curvature = {};
  std::function<void(const SolvedLayer&)> on_solved;
};

// `states`: the block's input by batch, replaced by its output. Empty: data-free methods only, nothing is moved on.
void solve_block(const BlockJob& job, ActivationStore& states, ActivationStore* original_states);

// The same for a block whose linears are compressed already.
void forward_block(const DecoderBlock& block, ActivationStore& states);

}  // namespace pare
