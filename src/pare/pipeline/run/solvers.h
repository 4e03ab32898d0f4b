// From a layer's wish to its solver: the one table of methods that compute.
#pragma once

#include "pare/pipeline/recipe.h"
#include "pare/quantize/problem.h"

namespace pare {

// `dtype`: of values that stay floating point (the model's own). `format_scale_bits`: see GridOptions::scale_bits.
Solution solve(const Problem& problem, const LayerWish& wish, Dtype dtype, int format_scale_bits);

}  // namespace pare
