#include "pare/curvature/inverse_factor.h"

#include <algorithm>
#include <cmath>

#include "pare/base/error.h"
#include "pare/curvature/matmul.h"
#include "pare/curvature/parallel_tasks.h"

namespace pare {

namespace {

constexpr int kMaxGrowths = 6;

int64_t block_size(int64_t n) {
  return n >= 2048 ? 256 : 128;
}

// One diagonal block, in f64 whatever the matrix is. `a` [size, size], its upper triangle read.
//   a = R R^T, R upper;  t = R^-1, upper, zeros below.      False when a pivot R_kk^2 falls below `least_pivot`.
bool factor_block(std::vector<double>& a, int64_t size, double least_pivot, std::vector<double>& t) {
  const auto row = [size](std::vector<double>& m, int64_t r) { return m.data() + r * size; };
  // Columns from last to first; column k of R is kept as a row of `columns`, so that inner loops are contiguous.
  std::vector<double> columns(static_cast<size_t>(size * size), 0.0);
  std::vector<double> symmetric(a.size());
  for (int64_t r = 0; r < size; ++r) {
    for (int64_t c = r; c < size; ++c) symmetric[r * size + c] = symmetric[c * size + r] = a[r * size + c];
  }
  for (int64_t k = size - 1; k >= 0; --k) {
    const double pivot = row(symmetric, k)[k];
    if (!(pivot > 0) || !(pivot >= least_pivot) || !std::isfinite(pivot)) return false;
    const double root = std::sqrt(pivot);
    double* column = row(columns, k);
    for (int64_t i = 0; i < k; ++i) column[i] = row(symmetric, k)[i] / root;
    column[k] = root;
    for (int64_t i = 0; i < k; ++i) {
      double* target = row(symmetric, i);
      const double factor = column[i];
      for (int64_t j = 0; j <= i; ++j) target[j] -= factor * column[j];
    }
  }
  // R t = I, rows of t from last to first: t_k = (e_k - sum_{l>k} R_kl t_l) / R_kk
  std::fill(t.begin(), t.end(), 0.0);
  for (int64_t k = size - 1; k >= 0; --k) {
    double* target = row(t, k);
    target[k] = 1.0;
    for (int64_t l = k + 1; l < size; ++l) {
      const double factor = row(columns, l)[k];
      const double* source = row(t, l);
      for (int64_t c = l; c < size; ++c) target[c] -= factor * source[c];
    }
    const double inverse = 1.0 / row(columns, k)[k];
    for (int64_t c = k; c < size; ++c) target[c] *= inverse;
  }
  return true;
}

// In place: the symmetric matrix `a` [n, n] (upper triangle used) becomes U = R^-1, where a = R R^T with R upper, so
// that a^-1 = U^T U. Left-looking over blocks of columns from last to first, then the inverse from first to last;
// products are cut into tasks that depend on the block size alone. False when a pivot falls below `least_pivot`.
template <typename T>
bool invert_upper_factor(T* a, int64_t n, double least_pivot) {
  const int64_t size = block_size(n);
  const int64_t blocks = (n + size - 1) / size;
  const auto begin = [&](int64_t b) { return b * size; };
  const auto width = [&](int64_t b) { return std::min(size, n - b * size); };
  const auto at_block = [&](int64_t row_block, int64_t col) { return a + begin(row_block) * n + col; };
  std::vector<std::vector<T>> inverse_blocks(static_cast<size_t>(blocks));
  for (int64_t k = blocks - 1; k >= 0; --k) {
    const int64_t right = begin(k) + width(k);
    parallel_tasks(k + 1, [&](int64_t i) {  // A_ik -= sum over l > k of R_il R_kl^T
      add_product<T>(at_block(i, begin(k)), n, width(i), width(k), n - right, row_major(at_block(i, right), n),
                     transposed(at_block(k, right), n), T{-1}, Summation::blocks);
    });
    std::vector<double> block(static_cast<size_t>(width(k) * width(k)));
    for (int64_t r = 0; r < width(k); ++r) {
      for (int64_t c = r; c < width(k); ++c) block[r * width(k) + c] = at_block(k, begin(k))[r * n + c];
    }
    std::vector<double> inverse(block.size());
    if (!factor_block(block, width(k), least_pivot, inverse)) return false;
    std::vector<T>& t = inverse_blocks[k];
    t.assign(inverse.begin(), inverse.end());
    parallel_tasks(k, [&](int64_t i) {  // R_ik = A_ik R_kk^-T
      std::vector<T> product(static_cast<size_t>(width(i) * width(k)), T{0});
      add_product<T>(product.data(), width(k), width(i), width(k), width(k), row_major(at_block(i, begin(k)), n),
                     transposed(t.data(), width(k)), T{1}, Summation::blocks);
      for (int64_t r = 0; r < width(i); ++r) {
        std::copy_n(product.data() + r * width(k), width(k), at_block(i, begin(k)) + r * n);
      }
    });
  }
  for (int64_t j = 0; j < blocks; ++j) {  // U_ij = -(sum over i <= l < j of U_il R_lj) U_jj
    const std::vector<T>& t = inverse_blocks[j];
    std::vector<T> column(static_cast<size_t>(begin(j) * width(j)));
    for (int64_t r = 0; r < begin(j); ++r) std::copy_n(a + r * n + begin(j), width(j), column.data() + r * width(j));
    parallel_tasks(j, [&](int64_t i) {
      const int64_t left = begin(i);
      std::vector<T> product(static_cast<size_t>(width(i) * width(j)), T{0});
      add_product<T>(product.data(), width(j), width(i), width(j), begin(j) - left, row_major(at_block(i, left), n),
                     row_major(column.data() + left * width(j), width(j)), T{1}, Summation::blocks);
      T* target = at_block(i, begin(j));
      for (int64_t r = 0; r < width(i); ++r) std::fill_n(target + r * n, width(j), T{0});
      add_product<T>(target, n, width(i), width(j), width(j), row_major(product.data(), width(j)),
                     row_major(t.data(), width(j)), T{-1}, Summation::blocks);
    });
    for (int64_t r = 0; r < width(j); ++r) {
      std::copy_n(t.data() + r * width(j), width(j), at_block(j, begin(j)) + r * n);
    }
  }
  for (int64_t r = 1; r < n; ++r) std::fill_n(a + r * n, r, T{0});
  return true;
}

void require_finite(const at::Tensor& h, const std::string& name) {
  if (std::isfinite(h.sum(at::kDouble).item<double>())) return;
  const int64_t place = at::isfinite(h).logical_not().flatten().to(at::kByte).argmax().item<int64_t>();
  throw InputError(name + ": the curvature H holds a non-finite value at [" + std::to_string(place / h.size(1)) + ", " +
                   std::to_string(place % h.size(1)) +
                   "]; expected finite numbers. The layer's inputs overflow: use other calibration text, or check the "
                   "model with `pare eval`.");
}

// H with dead inputs revived, ordered and damped, in `dtype`.
at::Tensor ordered_and_damped(const at::Tensor& h, const at::Tensor& diagonal, double lambda, const at::Tensor& order,
                              at::ScalarType dtype) {
  at::Tensor a = order.defined() ? h.index_select(0, order).index_select(1, order) : h.clone();
  a = a.to(dtype);
  const at::Tensor d = order.defined() ? diagonal.index_select(0, order) : diagonal;
  a.diagonal().copy_(d + lambda);
  return a;
}

}  // namespace

at::Tensor damped(const at::Tensor& h, const InverseFactor& factor) {
  at::Tensor result = h.clone(at::MemoryFormat::Contiguous);
  const at::Tensor diagonal = h.diagonal().to(at::kDouble).masked_fill(factor.dead, factor.mean);
  result.diagonal().copy_(diagonal + factor.lambda);
  return result;
}

InverseFactor inverse_factor(const at::Tensor& h, double damp, const at::Tensor& order, const std::string& name) {
  PARE_ASSERT(h.dim() == 2 && h.size(0) == h.size(1) && h.scalar_type() == at::kFloat);
  PARE_ASSERT(!order.defined() || (order.dim() == 1 && order.size(0) == h.size(0)));
  require_finite(h, name);

  InverseFactor result;
  result.order = order;
  at::Tensor diagonal = h.diagonal().to(at::kDouble);
  result.dead = diagonal.eq(0);
  result.dead_count = result.dead.sum().item<int64_t>();
  const int64_t live = h.size(0) - result.dead_count;
  result.mean = live > 0 ? diagonal.sum().item<double>() / static_cast<double>(live) : 1.0;
  diagonal = diagonal.masked_fill(result.dead, result.mean);

  result.damp = damp;
  for (int growth = 0; growth <= kMaxGrowths; ++growth) {
    const double lambda = result.lambda = result.damp * result.mean;
    for (const auto dtype : {at::kFloat, at::kDouble}) {
      at::Tensor a = ordered_and_damped(h, diagonal, lambda, order, dtype);
      // Every pivot of the damped matrix is at least lambda. One that comes out at half of that is rounding noise:
      // the factorization went through, and its result would be worthless.
      const bool factored = dtype == at::kFloat ? invert_upper_factor(a.data_ptr<float>(), a.size(0), lambda / 2)
                                                : invert_upper_factor(a.data_ptr<double>(), a.size(0), lambda / 2);
      if (!factored) continue;
      result.u = a.to(at::kFloat);
      if (!std::isfinite(result.u.sum(at::kDouble).item<double>())) continue;
      result.used_fp64 = dtype == at::kDouble;
      return result;
    }
    if (growth < kMaxGrowths) result.damp = result.damp > 0 ? result.damp * 10 : 1e-5;
  }
  result.u = at::Tensor();
  result.failed = true;
  return result;
}

}  // namespace pare
