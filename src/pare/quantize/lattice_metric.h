// The point of a lattice for eight columns whose errors count together: cost(e) = e M e^T.
//
// Exact where M is diagonal. Else the off-diagonal terms move the target, and the point nearest to that is taken where
// it costs less.
#pragma once

#include "pare/weights/encode/lattice_code.h"

namespace pare {

// Eight columns of sixteen rows. All arrays are [8][16] but for d, sc, shift [16]: scale = d sc.
struct LatticePlace {
  const LatticeCode* code;
  const float* metric;  // M, [8][8], rows `stride` apart, symmetric, its diagonal not negative
  int64_t stride;
  const float *d, *sc, *shift;
};

// values: those of a point with a small cost of target - values.
void nearest_in_metric(const LatticePlace& place, const float* target, float* values);

// gradient: M (target - values), of a target that need not be known. Moves values to another point where that costs
// less, and the gradient with them; `change`: by how much. False: no row moved.
bool improve_in_metric(const LatticePlace& place, float* values, float* gradient, float* change);

}  // namespace pare
