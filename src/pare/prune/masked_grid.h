// Rounding to a grid under a mask that is already fixed.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "pare/curvature/column_walk.h"
#include "pare/quantize/grid.h"

namespace pare {

// A step of the walk: kWalkRows values of one column, each to its grid.
class GridRounding {
 public:
  explicit GridRounding(const Grid& grid);
  void operator()(int64_t row, int64_t column, const float* src, float* q) const;

 private:
  int64_t group_;
  float maxq_;
  at::Tensor scale_, zero_;  // [groups, rows up to whole tiles]
};

// GPTQ's walk over `values` with the mask fixed: kept ones rounded, the others held at 0, errors pushed on.
void walk_masked(const Grid& grid, const at::Tensor& u, const at::Tensor& keep, at::Tensor& values);

// One sweep of coordinate descent: each kept value in turn to the point of its grid that is best with all others as
// they are. The loss (w - q) H (w - q)^T of no row rises.
void descend_masked(const at::Tensor& weight, const at::Tensor& h, const Grid& grid, const at::Tensor& keep,
                    at::Tensor& values);

}  // namespace pare
