// The scales of one block of sixteen rows: those with the least weighted error, as far as a search of some tens of
// candidates finds them.
//
//   minimise  sum_j a_j (w_j - value_j)^2        value_j: the level nearest to w_j on the block's grid
//
// Each sub-block first has scale and offset of its own by least squares over codes that come from scaled copies of its
// range; then d and dmin are chosen for all, and the sub-blocks' integers again for these; then d and dmin by least
// squares for the codes. The candidates are those of llama.cpp's make_qkx and make_qx; new is that every sub-block
// tries the integers beside its own with the block's final d and dmin.
#pragma once

#include "pare/weights/encode/scalar_type.h"

namespace pare {

// values, weights: [block][16], column by column, weights not negative. A block of zeros has d = 0.
TileScales fit_scales(const ScalarType& type, const float* values, const float* weights,
                      simd::Level level = simd::best_level());

// The weights for rounding each number by itself: h_j sqrt(s^2 + w_j^2), s^2 the mean square of the block: what large
// numbers carry tends to matter more than their curvature alone says (llama.cpp's choice). count: of the block;
// importance: [count] or null.
void rounding_weights(int count, const float* values, const float* importance, float* weights,
                      simd::Level level = simd::best_level());

}  // namespace pare
