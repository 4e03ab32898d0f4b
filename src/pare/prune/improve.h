// Better than one walk: with a mask chosen, solve for what is kept, then exchange weights where that helps.
//
//   solve:     min over q with q = 0 off the mask of (w - q) H (w - q)^T, by conjugate gradients on the mask,
//              preconditioned by diag H. From a walk's answer 6 steps come within 1 % of the minimum.
//   exchange:  of what is kept, weight j is worth  q_j^2 c_j;   of what is not, r_j^2 / c_j  with r = (w - q) H: what
//              the loss would fall by. c_j is between H[j,j] (all others fixed) and 1 / [H^-1]_jj (all others free to
//              make up for it); we take that of the inputs with as much noise added,
//                c = diag(H) (1 / diag((D^-1/2 H D^-1/2 + I)^-1) - 1),  D = diag H,
//              which chose better than either end and than less or more noise (0.1, 0.3, 2, 4, 10).
//              The most worth are kept, as many as before: of each row, or of each group of m. Then solve again. A row
//              whose loss did not fall keeps what it had and tries half as many exchanges the next time.
//
// So the loss of no row ever rises, and counts stay what they were, in every row and group.
// Measured on layers of SmolLM2-135M (3 rounds of 6 steps), relative layer loss against SparseGPT's: -25 to -41 % at
// 50 %, -24 to -29 % at 2:4; on text not calibrated on 6 points less. Cost: (2 + rounds) * steps + rounds + 1 products
// out * in^2, that is 34, where SparseGPT's walk is half of one.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "pare/weights/pattern.h"

namespace pare {

struct ImproveOptions {
  int rounds = 3;  // of exchanges
  int steps = 6;   // of conjugate gradients, before, in and after the rounds
};

// weight [out, in]: what to come near; h [in, in]: damped. `values` [out, in] f32 and `keep` [out, in] u8, both
// contiguous, are improved; values are 0 where keep is. Same bytes for any number of threads.
void improve(const at::Tensor& weight, const at::Tensor& h, const Pattern& pattern, const ImproveOptions& options,
             at::Tensor& values, at::Tensor& keep);

}  // namespace pare
