// SparseGPT: remove weights column by column, the remaining ones of the row making up for it; optionally round what
// stays in the same walk. Frantar & Alistarh, ICML 2023, arXiv:2301.00774, Algorithm 1.
//
//   score = w^2 / U[j,j]^2     chosen for `block` columns at once over all rows (unstructured), or for m columns of
//   each
//                              row as the walk reaches them (n:m)
//   e = (w_j - kept(w_j)) / U[j,j];   W[:, j+1:] -= e U[j, j+1:]
//
// Exactly round(sparsity * out * columns) weights of each block are removed; ties go by position.
#pragma once

#include "pare/quantize/grid.h"
#include "pare/quantize/problem.h"
#include "pare/weights/pattern.h"

namespace pare {

struct SparseGptOptions {
  Pattern pattern;
  double damp = 0.01;
  int64_t block = 128;    // columns whose masks are chosen together (unstructured): smaller adapts more, is freer less
  bool quantize = false;  // also round what is kept, to `grid` (0 is always on it)
  GridOptions grid;
  Dtype dtype = Dtype::bf16;  // of the kept values when not quantized: the model's own
};
Solution sparsegpt(const Problem& problem, const SparseGptOptions& options);

}  // namespace pare
