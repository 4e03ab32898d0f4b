#include "pare/curvature/column_walk.h"

#include <algorithm>
#include <vector>

#include "pare/base/error.h"
#include "pare/base/simd.h"
#include "pare/curvature/matmul.h"
#include "pare/curvature/parallel_tasks.h"

namespace pare {

namespace {

constexpr int64_t kRowsATask = 12 * kWalkRows;  // whole panels of the product, whole tiles of the walk

// tile[k] -= e u[k], k < count;  tile [count, kWalkRows]
template <int Bytes>
PARE_INLINE void push(const float* e, const float* u, int64_t count, float* tile) {
  using V = typename simd::Vector<float, Bytes>::type;
  constexpr int kVectors = kWalkRows * sizeof(float) / Bytes;
  V minus[kVectors];
  for (int v = 0; v < kVectors; ++v) minus[v] = -*(reinterpret_cast<const V*>(e) + v);
  for (int64_t k = 0; k < count; ++k) {
    V* column = reinterpret_cast<V*>(tile + k * kWalkRows);
    for (int v = 0; v < kVectors; ++v) column[v] += minus[v] * u[k];
  }
}

void push_error(simd::Level level, const float* e, const float* u, int64_t count, float* tile) {
  simd::run_at(level, [=](auto width) PARE_ALWAYS_INLINE { push<width>(e, u, count, tile); });
}

}  // namespace

void ColumnStep::enter(const at::Tensor&, int64_t, int64_t) {}

at::Tensor walk_columns(at::Tensor& w, const at::Tensor& u, int64_t block, ColumnStep& step) {
  const int64_t out = w.size(0), in = w.size(1);
  PARE_ASSERT(block > 0 && u.size(0) == in && u.size(1) == in);
  PARE_ASSERT(w.is_contiguous() && w.scalar_type() == at::kFloat && u.is_contiguous() && u.scalar_type() == at::kFloat);
  float* const weights = w.data_ptr<float>();
  const float* const factor = u.const_data_ptr<float>();
  const simd::Level level = simd::best_level();
  at::Tensor losses = at::zeros({out}, at::kDouble);
  double* const loss = losses.data_ptr<double>();

  for (int64_t first = 0; first < in; first += block) {
    const int64_t count = std::min(block, in - first), last = first + count;
    step.enter(w, first, count);
    parallel_tasks((out + kRowsATask - 1) / kRowsATask, [&](int64_t task) {
      const int64_t rows_begin = task * kRowsATask, rows_end = std::min(out, rows_begin + kRowsATask);
      std::vector<float> tile(static_cast<size_t>(count * kWalkRows));
      std::vector<float> errors(static_cast<size_t>((rows_end - rows_begin) * count));  // row-major
      for (int64_t row = rows_begin; row < rows_end; row += kWalkRows) {
        const int64_t rows = std::min<int64_t>(kWalkRows, rows_end - row);
        if (rows < kWalkRows) std::fill(tile.begin(), tile.end(), 0.0f);
        for (int64_t r = 0; r < rows; ++r) {
          const float* source = weights + (row + r) * in + first;
          for (int64_t k = 0; k < count; ++k) tile[k * kWalkRows + r] = source[k];
        }
        alignas(64) float q[kWalkRows], e[kWalkRows];
        for (int64_t k = 0; k < count; ++k) {
          const float* line = factor + (first + k) * in + first;
          float* column = tile.data() + k * kWalkRows;
          step.fix(row, first + k, column, count - k, q);
          const float pivot = line[k];
          for (int r = 0; r < kWalkRows; ++r) e[r] = (column[r] - q[r]) / pivot;
          push_error(level, e, line + k + 1, count - k - 1, column + kWalkRows);
          std::copy(q, q + kWalkRows, column);
          for (int64_t r = 0; r < rows; ++r) {
            errors[(row - rows_begin + r) * count + k] = e[r];
            loss[row + r] += static_cast<double>(e[r]) * static_cast<double>(e[r]);
          }
        }
        for (int64_t r = 0; r < rows; ++r) {
          float* target = weights + (row + r) * in + first;
          for (int64_t k = 0; k < count; ++k) target[k] = tile[k * kWalkRows + r];
        }
      }
      if (last < in) {
        add_product(weights + rows_begin * in + last, in, rows_end - rows_begin, in - last, count,
                    row_major(errors.data(), count), row_major(factor + first * in + last, in), -1.0f,
                    Summation::chain);
      }
    });
  }
  return losses;
}

}  // namespace pare
