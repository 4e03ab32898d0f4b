// GPTQ: round one layer's weights column by column; each column's rounding error is pushed onto the
// columns not yet rounded, as the curvature of the layer's output error says.
//
//   minimise  || X (W - Q)^T ||_F^2      W, Q [out, in], Q on the grid;  X [tokens, in]
//   H = 2/tokens X^T X                   [in, in], symmetric, PSD, fp32
//   U = upper Cholesky factor of (H + lambda I)^-1,   lambda = damp * mean(diag H)
//   for j = 0 .. in-1:   e = (w_j - grid(w_j)) / U[j,j];   W[:, j+1:] -= e U[j, j+1:]
//
// Columns go in blocks of `block`, the rest of W catches up once a block (one product): same result, less traffic.
// Frantar et al., ICLR 2023, arXiv:2210.17323, Algorithm 1.
// Cost: out * in^2 + in^3 multiply-adds, in^2 * 4 bytes beside W. Same bytes for any number of threads.
// If no damping makes H positive definite, plain rounding is kept and Solution::warnings says so.
#pragma once

#include "pare/quantize/grid.h"
#include "pare/quantize/problem.h"

namespace pare {

struct GptqOptions {
  GridOptions grid;
  double damp = 0.01;         // larger survives few or repetitive samples, and moves the answer towards plain rounding
  bool act_order = true;      // largest diag(H) first; better below 4 bits; free with static groups
  bool static_groups = true;  // all grids fitted on the original weights, in their places; false: fitted on the
                              // error-updated weights when the walk reaches the group (natural order only)
  int64_t block = 128;        // columns a block; changes speed, not the result
  bool keep_better_rtn = true;  // a row on which plain rounding has less error keeps it
  int descent_sweeps = 3;       // coordinate descent on the codes after the walk; no sweep increases the error
  bool refit_scales = true;     // least squares for the scales, codes fixed, within those sweeps
  double shift = 0;  // alpha of the shifted target W + alpha W (C - H) (H + lambda I)^-1: makes up for the error
                     // of earlier layers; needs curvature.cross
};
Solution gptq(const Problem& problem, const GptqOptions& options);

}  // namespace pare
