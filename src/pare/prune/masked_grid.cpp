#include "pare/prune/masked_grid.h"

#include <algorithm>

#include "pare/base/error.h"
#include "pare/curvature/matmul.h"
#include "pare/curvature/parallel_tasks.h"
#include "pare/quantize/grid_fit.h"

namespace pare {

namespace {

constexpr int64_t kBlock = 128;

at::Tensor padded(const at::Tensor& of_rows, double value) {
  const int64_t padding = (kWalkRows - of_rows.size(0) % kWalkRows) % kWalkRows;
  return at::constant_pad_nd(of_rows.t(), {0, padding}, value).contiguous();
}

class WalkStep final : public ColumnStep {
 public:
  WalkStep(const Grid& grid, const at::Tensor& keep)
      : round_(grid), keep_(keep.const_data_ptr<uint8_t>()), out_(keep.size(0)), in_(keep.size(1)) {}
  void fix(int64_t row, int64_t column, const float* tile, int64_t, float* q) override {
    round_(row, column, tile, q);
    const int64_t rows = std::min<int64_t>(kWalkRows, out_ - row);
    for (int64_t r = 0; r < rows; ++r) q[r] = keep_[(row + r) * in_ + column] ? q[r] : 0.0f;
  }

 private:
  GridRounding round_;
  const uint8_t* keep_;
  int64_t out_, in_;
};

// The walk over the residual R = (W - Q) H along H itself: with d = q' - q the change of a column, R[:, k] falls by
// d H[j,k], which is the walk's own update for R[:, j] - H[j,j] d in the place of R[:, j].
class DescentStep final : public ColumnStep {
 public:
  DescentStep(const at::Tensor& h, const Grid& grid, const at::Tensor& keep, at::Tensor& values)
      : round_(grid),
        diagonal_(h.diagonal().contiguous()),
        keep_(keep.const_data_ptr<uint8_t>()),
        values_(values.data_ptr<float>()),
        out_(keep.size(0)),
        in_(keep.size(1)) {}

  void fix(int64_t row, int64_t column, const float* residual, int64_t, float* q) override {
    const float curvature = diagonal_.const_data_ptr<float>()[column];
    const int64_t rows = std::min<int64_t>(kWalkRows, out_ - row);
    float best[kWalkRows] = {}, rounded[kWalkRows];
    float* value = values_ + row * in_ + column;
    for (int64_t r = 0; r < rows; ++r) best[r] = value[r * in_] + residual[r] / curvature;
    round_(row, column, best, rounded);
    std::copy(residual, residual + kWalkRows, q);
    for (int64_t r = 0; r < rows; ++r) {
      if (!keep_[(row + r) * in_ + column]) continue;
      q[r] = residual[r] - curvature * (rounded[r] - value[r * in_]);
      value[r * in_] = rounded[r];
    }
  }

 private:
  GridRounding round_;
  at::Tensor diagonal_;
  const uint8_t* keep_;
  float* values_;
  int64_t out_, in_;
};

}  // namespace

GridRounding::GridRounding(const Grid& grid)
    : group_(grid.group),
      maxq_(static_cast<float>(grid.maxq)),
      scale_(padded(grid.scale, 1)),
      zero_(padded(grid.zero, 0)) {}

void GridRounding::operator()(int64_t row, int64_t column, const float* src, float* q) const {
  const int64_t place = column / group_ * scale_.size(1) + row;
  round_tile(src, scale_.const_data_ptr<float>() + place, zero_.const_data_ptr<float>() + place, maxq_, q);
}

void walk_masked(const Grid& grid, const at::Tensor& u, const at::Tensor& keep, at::Tensor& values) {
  WalkStep step(grid, keep);
  walk_columns(values, u, kBlock, step);
}

void descend_masked(const at::Tensor& weight, const at::Tensor& h, const Grid& grid, const at::Tensor& keep,
                    at::Tensor& values) {
  const int64_t out = weight.size(0), in = weight.size(1);
  constexpr int64_t kRowsATask = 96;
  const at::Tensor difference = weight - values;
  at::Tensor residual = at::zeros({out, in}, at::kFloat);
  parallel_tasks((out + kRowsATask - 1) / kRowsATask, [&](int64_t task) {
    const int64_t first = task * kRowsATask, rows = std::min(kRowsATask, out - first);
    add_product(residual.data_ptr<float>() + first * in, in, rows, in, in,
                row_major(difference.const_data_ptr<float>() + first * in, in),
                row_major(h.const_data_ptr<float>(), in), 1.0f, Summation::blocks);
  });
  DescentStep step(h, grid, keep, values);
  walk_columns(residual, h, kBlock, step);
}

}  // namespace pare
