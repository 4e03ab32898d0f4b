// The walk that GPTQ and SparseGPT share: fix the columns of W one after the other, each one's error pushed onto the
// columns not yet fixed.
//
//   for j = 0 .. in-1:   q_j = step(w_j);   e = (w_j - q_j) / U[j,j];   W[:, j+1:] -= e U[j, j+1:]
//
// Identity: with H' the matrix whose inverse is U^T U, a row's (w - q) H' (w - q)^T is the sum of its e^2.
//
// Columns go in blocks: 16 rows at a time see the updates inside a block at once, the columns after it once a block, as
// one product. Every element is one chain of multiply-adds in the order of the columns, so neither `block` nor the
// number of threads changes a byte.
// Cost: out * in^2 / 2 multiply-adds.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace pare {

constexpr int kWalkRows = 16;  // rows that a step sees at once

// What a method does on the way.
class ColumnStep {
 public:
  virtual ~ColumnStep() = default;
  // Before the columns first .. first + count - 1 are fixed; `w` [out, in] has them up to date.
  virtual void enter(const at::Tensor& w, int64_t first, int64_t count);
  // Column `column` of the rows row .. row + kWalkRows - 1 becomes q. tile[k * kWalkRows + r] is column + k of row + r,
  // up to date, for k < ahead (to the end of the block). Rows past the last one are padding: zeros, results unused.
  // Called from several threads, for different rows.
  virtual void fix(int64_t row, int64_t column, const float* tile, int64_t ahead, float* q) = 0;
};

// w [out, in] f32 contiguous, columns in the order of u [in, in]; becomes Q. Returns each row's sum of e^2, [out] f64.
at::Tensor walk_columns(at::Tensor& w, const at::Tensor& u, int64_t block, ColumnStep& step);

}  // namespace pare
