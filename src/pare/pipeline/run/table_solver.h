// Embedding and head rounded to GGUF's blocks, once the last block has given its states.
//
// A row of the head multiplies the normed states, so it is solved as any linear's: H = 2/tokens X^T X. A row of the
// embedding is looked up: an error d in it costs sum_c g_c d_c^2, g_c the mean square of the gradient there
// (OutputFisher::of_embedding). In one table that is both, a row serves as often as an input as it is predicted, and
//
//   H' = H + 2 diag(g)          without gradients: g = mean(diag H) / 2, which trusts both sides alike
#pragma once

#include <string>

#include "pare/nn/decoder.h"
#include "pare/pipeline/plan.h"
#include "pare/pipeline/run/activation_store.h"
#include "pare/quantize/problem.h"

namespace pare {

struct Table {
  const ModelFiles* files;
  const Decoder* decoder;
  std::string name;         // without ".weight"
  bool looked_up;           // an embedding that is not the head, too
  at::Tensor of_embedding;  // [hidden] f64, or undefined
  LayerHessian known = {};  // with sum_sq: instead of what the states would give
};

// states: after the last block, any number of batches; none are needed for what is looked up.
LayerHessian table_curvature(const Table& table, const ActivationStore& states);
// The same from one batch [..., hidden].
LayerHessian table_curvature(const Table& table, const at::Tensor& states);

// Solution::dequantized stays undefined: strips of rows come and go.
Solution solve_table(const Table& table, const LayerPlan& plan, const ActivationStore& states);

}  // namespace pare
