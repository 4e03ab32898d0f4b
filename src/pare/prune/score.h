// Pruning by a score, without making up for what goes: magnitude and Wanda.
//
//   magnitude: |w|, over the whole layer                Wanda: |w_ij| * ||x_j||_2, within each row (Sun et al., ICLR
//   2024)
//
// Exactly round(sparsity * count) go; equal scores go by position, the first first. n:m within each row.
#pragma once

#include "pare/quantize/problem.h"
#include "pare/weights/pattern.h"

namespace pare {

struct ScorePruneOptions {
  Pattern pattern;
  Dtype dtype = Dtype::bf16;  // of the kept values: the model's own, so that they survive unchanged
};
Solution magnitude(const Problem& problem, const ScorePruneOptions& options);
Solution wanda(const Problem& problem, const ScorePruneOptions& options);  // needs curvature.sum_sq

}  // namespace pare
