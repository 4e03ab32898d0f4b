// From a layer's wish to its solver: the one table of methods that compute.
#pragma once

#include "pare/pipeline/plan.h"
#include "pare/quantize/problem.h"

namespace pare {

// Into the layer's form. `format_scale_bits`: see GridOptions::scale_bits.
Solution solve(const Problem& problem, const LayerPlan& layer, int format_scale_bits);

}  // namespace pare
