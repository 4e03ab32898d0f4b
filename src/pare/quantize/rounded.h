// A rounded weight on its way through a solver, and its error row by row.
#pragma once

#include "pare/quantize/grid.h"

namespace pare {

struct Rounded {
  Grid grid;
  at::Tensor values;  // [out, in] f32, on the grid
};

// d H d^T of each row d of `difference` [out, in], [out] f64; h [in, in] f32 contiguous.
at::Tensor row_losses(const at::Tensor& difference, const at::Tensor& h);
double total(const at::Tensor& losses);  // in the order of the rows
// The rows where `mask` [out] is true become those of `from`, scales and zeros with them.
void take_rows(Rounded& into, const Rounded& from, const at::Tensor& mask);

}  // namespace pare
