// GPTQ: round one layer's weights column by column; each column's rounding error is pushed onto the
// columns not yet rounded, as the curvature of the layer's output error says.
//
//   minimise  || X (W - Q)^T ||_F^2      W, Q [out, in], Q on the grid;  X [tokens, in]
//   H = 2/tokens X^T X                   [in, in], symmetric, PSD, fp32
//   U = upper Cholesky factor of (H + lambda I)^-1,   lambda = damp * mean(diag H)
//   for j = 0 .. in-1:   e = (w_j - grid(w_j)) / U[j,j];   W[:, j+1:] -= e U[j, j+1:]
//
// Columns go in blocks of `block`, the rest of W catches up once a block (one product): same result, less traffic.
// Frantar et al., ICLR 2023, arXiv:2210.17323, Algorithm 1. Differs: `act_order` from the authors' later code; scales
// weighed by 1 / U[j,j]^2, which is what an error in column j costs in the walk (theirs: all alike; usual: H[j,j]); and
// what is done after the walk (descent.h).
//
// Measured on SmolLM2-135M, group 64, asymmetric, mean relative loss of three of its blocks in 1e-3 (when a
// sweep still visited each group twice):
//                                    3 bits   2 bits
//   scales weighed by H[j,j]          8.16     32.2
//   by 1 / U[j,j]^2                   7.43     30.3
//   and 1 sweep of descent            7.09     28.1
//   and 3 sweeps                      6.93     27.2       8 sweeps: 6.88 and 26.9
// The default is 2 sweeps: 2.6 s for the walk of a 4096 x 4096 layer on two cores, 5.9 s with both sweeps.
// Without the refit of scales 3 sweeps gain a third less. Tried beside it and left out, at two to four times the time:
// solving each group anew for nine scales (-1.1 % at 3 bits), walking a second time with the refitted scales (-1.4 %).
// No gain: damp 0.003 or 0.03, scales 5 % or 10 % larger than fitted, ordering by the inverse's diagonal.
//
// Cost: out * in^2 + in^3 multiply-adds, in^2 * 4 bytes beside W; each sweep out * in^2 more. Same bytes for any number
// of threads and any `block`.
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
  int descent_sweeps = 2;       // coordinate descent on the codes after the walk; no sweep increases the error
  bool refit_scales = true;     // least squares for the scales, codes fixed, within those sweeps
  double shift = 0;  // alpha of the shifted target W + alpha W (C - H) (H + lambda I)^-1: makes up for the error
                     // of earlier layers; needs curvature.cross
};
Solution gptq(const Problem& problem, const GptqOptions& options);

}  // namespace pare
