// GPTQ, and plain rounding, into the block types of GGUF.
//
// GGUF's scales belong to places in a row, so they are all fitted first, on the original weights; then GPTQ's walk goes
// through the columns in any order (largest diag(H) first) and rounds each number on the grid of its place; then
// coordinate descent moves codes and scales in turn. A file so made is read by whatever reads GGUF.
// The walk: gptq.h. That scales in fixed places allow any order, and that refitting them afterwards is worth it:
// the gptq-gguf-toolkit of IST-DASLab walks in natural order with scales fitted on the way.
#pragma once

#include "pare/curvature/inverse_factor.h"
#include "pare/io/ggml_type.h"
#include "pare/quantize/problem.h"

namespace pare {

struct GgufGptqOptions {
  const GgmlType* type = nullptr;  // one that gguf_layout() knows; its block divides the inputs
  double damp = 0.01;
  bool act_order = true;
  int64_t block = 128;  // columns a block of the walk, a multiple of 8; changes speed, not the result
  bool keep_better_rtn = true;
  int descent_sweeps = 2;
  bool refit_scales = true;
  const InverseFactor* factor =
      nullptr;  // gptq_factor() of the same curvature and group, for solving it more than once
};
// Columns that a code of the type names together, and the walk keeps together: 1 or 8.
int64_t columns_together(const GgmlType& type);
InverseFactor gptq_factor(const Problem& problem, const GgufGptqOptions& options);
// Solution::rtn_loss is that of rtn_gguf with the same curvature: what an importance matrix alone gives.
Solution gptq_gguf(const Problem& problem, const GgufGptqOptions& options);

// Each number to its nearest point; with a Hessian (or sums of squares) the scales are weighed by the inputs' size.
Solution rtn_gguf(const Problem& problem, const GgmlType& type);

}  // namespace pare
