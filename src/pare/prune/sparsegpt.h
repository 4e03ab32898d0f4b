// SparseGPT: remove weights column by column, the remaining ones of the row making up for it; optionally round what
// stays. Frantar & Alistarh, ICML 2023, arXiv:2301.00774, Algorithm 1; and two steps beyond it.
//
//   U, H' as in curvature/inverse_factor
//   score = w^2 / U[j,j]^2     chosen for `block` columns at once over all rows (unstructured), or for m columns of
//                              each row as the walk reaches them (n:m)
//   e = (w_j - kept(w_j)) / U[j,j];   W[:, j+1:] -= e U[j, j+1:]                    curvature/column_walk
//   beyond the paper: the kept weights solved for, weights exchanged                prune/improve
//
// round(sparsity * out * columns) weights of each block are removed (kept_count with PruneUnit::tile says the total
// beforehand; exchanges keep the count of every row), ties go by position. Dead inputs get weight 0: unstructured they
// go first, an n:m group of them keeps n zeros.
// Rounding to `grid`: with `improve` on, the grid is fitted to the improved weights, which are then walked a second
// time with the mask fixed, and coordinate descent on the grid follows; else in the one walk, as in the paper.
// What is written is what was measured: `dtype` is rounded to before the loss is taken.
// Cost beside improve's: out * in^2 / 2 + in^3 multiply-adds. Same bytes for any number of threads.
// If no damping makes H positive definite the weights go by |w| sqrt(H[j,j]) without compensation, and
// Solution::warnings says so.
#pragma once

#include "pare/prune/improve.h"
#include "pare/quantize/grid.h"
#include "pare/quantize/problem.h"
#include "pare/weights/pattern.h"

namespace pare {

struct SparseGptOptions {
  Pattern pattern;
  double damp = 0.01;
  int64_t block = 128;     // columns whose masks are chosen together (unstructured): smaller adapts more, is freer less
  ImproveOptions improve;  // steps = 0: the paper's answer
  bool quantize = false;   // also round what is kept, to `grid` (0 is always on it)
  GridOptions grid;
  int descent_sweeps = 2;     // of coordinate descent on the grid, when improving
  Dtype dtype = Dtype::bf16;  // of the kept values when not quantized: the model's own
};
Solution sparsegpt(const Problem& problem, const SparseGptOptions& options);

}  // namespace pare
