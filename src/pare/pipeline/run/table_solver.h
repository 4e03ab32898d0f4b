// Embedding and head rounded to GGUF's blocks, once the last block has given its states.
//
// A row of the head multiplies the normed states, so it is solved as any linear's: H = 2/tokens X^T X. A row of the
// embedding is looked up: an error d in it costs sum_c g_c d_c^2, g_c the mean square of the gradient there
// (OutputFisher::of_embedding). In one table that is both, a row serves as often as an input as it is predicted, and
//
//   H' = H + 2 diag(g)          without gradients: g = mean(diag H) / 2, which trusts both sides alike
#pragma once

#include "pare/nn/decoder.h"
#include "pare/pipeline/plan.h"
#include "pare/pipeline/run/activation_store.h"
#include "pare/quantize/problem.h"

namespace pare {

struct TableJob {
  const ModelFiles* files;
  const Decoder* decoder;
  const LayerPlan* plan;          // one with is_table()
  const ActivationStore* states;  // after the last block; empty: none are needed
  at::Tensor of_embedding;        // [hidden] f64, or undefined
};

// Solution::dequantized stays undefined: strips of rows come and go.
Solution solve_table(const TableJob& job);

}  // namespace pare
