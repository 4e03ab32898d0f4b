// Coordinate descent on a weight rounded to GGUF blocks: codes, and all of the blocks' scales, one after another.
//
//   loss of a row = e H e^T,   e = w - q,   G = H e
//   a code         to the point nearest to q_j + G_j / H_jj                                  all else fixed;
//                  of a lattice, eight j at once
//   sc, mn         to the integers nearest to the least-squares ones, of one sub-block       codes and the others fixed
//   d, dmin        to the f16 nearest to the least-squares ones, of one block                so
//
// Each step is taken only where it lessens the loss. What descent.h is to uniform grids; there a group has one scale
// and its zero stays.
#pragma once

#include "pare/quantize/gguf_grid.h"

namespace pare {

struct GgufRounded {
  GgufGrid grid;
  at::Tensor values;  // [out, in] f32, on the grid
};

// target [out, in] f32, h [in, in] f32 symmetric. `rounded` is improved in place. The losses of its rows, f64 [out].
at::Tensor descend(const at::Tensor& target, const at::Tensor& h, int sweeps, bool refit_scales, GgufRounded& rounded);

}  // namespace pare
