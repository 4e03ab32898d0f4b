// Round to nearest: each weight to the closest point of its grid, the curvature only weighing the choice of scales.
// The data-free baseline of every report, and right by itself at 8 bits.
#pragma once

#include "pare/quantize/grid.h"
#include "pare/quantize/problem.h"

namespace pare {

struct RtnOptions {
  GridOptions grid;
  bool weighted_search = true;  // with a Hessian: scale search weighted by diag H
};
Solution rtn(const Problem& problem, const RtnOptions& options);

}  // namespace pare
