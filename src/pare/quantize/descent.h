// Coordinate descent on a rounded weight: what is left to gain once every weight has its point.
//
//   loss of a row = d H d^T,   d = w - q,   G = H d
//   a code     q_j := the point nearest to q_j + G_j / H_jj                          all other codes fixed
//   a scale    s += c.G / c.H c,  q = s c on its group (c integers)   least squares, codes fixed; rounded to how it is
//                                                                     stored, kept only if that is still better
//
// Each step is the best possible one for its coordinate, so the loss never rises. One sweep visits every code, and
// every scale after its codes (visiting a group twice gains 0.2 % and costs a third more). Blocks of columns keep their
// own G up to date at once, the rest of G catches up by a product once a block; the loss is d G, for nothing. Cost of a
// sweep: out * in^2 multiply-adds, as much again at the start for G; strips of rows as in strips.h. What it gains:
// gptq.h.
#pragma once

#include "pare/quantize/rounded.h"

namespace pare {

// target [out, in] f32, h [in, in] f32 symmetric. `rounded` is improved in place. The losses of its rows, f64 [out].
at::Tensor descend(const at::Tensor& target, const at::Tensor& h, int sweeps, bool refit_scales,
                   const GridOptions& options, Rounded& rounded);

}  // namespace pare
