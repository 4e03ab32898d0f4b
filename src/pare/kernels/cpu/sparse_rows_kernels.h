// Products with rows of which only some values are stored (SparseRows), over an instruction set `I` as in
// panel_kernels.h. One token: kept values go to their places, 32 at a time. More: rows are spread out into `room` once
// and multiplied as dense ones. Sums take the same 16 lanes in the same order as a dense row's.
#pragma once

#include "pare/kernels/cpu/dense_kernels.h"

namespace pare::cpu {
namespace {

// each(column, row, 16 values) for `row_count` rows from `row` on.
template <class I, DenseType type, int row_count, class Each>
PARE_KERNEL void spread_rows(const SparseRows& w, int64_t row, int64_t ahead, const Each& each) {
  const uint32_t* masks = w.masks + row * w.masks_per_row;
  const uint8_t* kept[row_count];
#pragma GCC unroll 4
  for (int r = 0; r < row_count; ++r) kept[r] = w.kept + 2 * w.row_start[row + r];
  for (int64_t b = 0; b < w.masks_per_row; ++b) {
#pragma GCC unroll 4
    for (int r = 0; r < row_count; ++r) {
      const uint32_t mask = masks[r * w.masks_per_row + b];
      fetch(kept[r] + ahead);
      // By way of memory: from there they become f32 with fewer instructions than from within a register.
      alignas(64) uint8_t halves[64];
      I::expand_halves(mask, kept[r], halves);
      each(kBlockCols * b, r, load_dense<I, type>(halves));
      each(kBlockCols * b + 16, r, load_dense<I, type>(halves + 32));
      kept[r] += 2 * __builtin_popcount(mask);
    }
  }
}

template <class I, DenseType type, int row_count>
PARE_KERNEL void sparse_token(const SparseRows& w, int64_t row, const Rows& x, int64_t ahead, float* y) {
  typename I::Floats sum[row_count];
#pragma GCC unroll 4
  for (int r = 0; r < row_count; ++r) sum[r] = I::splat_float(0);
  spread_rows<I, type, row_count>(w, row, ahead, [&](int64_t column, int r, typename I::Floats values) {
    sum[r] = I::fma(values, I::load_f32(x.values + column), sum[r]);
  });
  for (int r = 0; r < row_count; ++r) y[r] = I::sum(sum[r]);
}

template <class I, DenseType type>
void sparse_rows_of(const SparseRows& w, const Rows& tokens, const Variant& how, int64_t first, int64_t last, float* y,
                    int64_t stride, void* room) {
  // Each row is a stream of its own: what is asked for ahead is shared among them.
  const int64_t ahead = how.fetch_ahead / kDenseRows;
  if (tokens.tokens == 1) {
    int64_t r = first;
    for (; r + kDenseRows <= last; r += kDenseRows) {
      sparse_token<I, type, kDenseRows>(w, r, tokens, ahead, y + (r - first));
    }
    for (; r < last; ++r) sparse_token<I, type, 1>(w, r, tokens, ahead, y + (r - first));
    return;
  }
  auto* values = static_cast<float*>(room);
  const int64_t cols = kBlockCols * w.masks_per_row;
  in_spans<I>(tokens, how, y, stride, [&](const Rows& x, float* out) {
    for (int64_t r = first; r < last; r += kDenseRows) {
      const int64_t rows = last - r < kDenseRows ? last - r : kDenseRows;
      const auto spread = [&]<int row_count>(int64_t from) {
        spread_rows<I, type, row_count>(w, r + from, ahead, [&](int64_t column, int row, typename I::Floats v) {
          I::store_f32(values + (from + row) * cols + column, v);
        });
      };
      if (rows == kDenseRows) {
        spread.template operator()<kDenseRows>(0);
      } else {
        for (int64_t i = 0; i < rows; ++i) spread.template operator()<1>(i);
      }
      dense_rows<I, DenseType::f32>(reinterpret_cast<const uint8_t*>(values), cols, x, Variant{.fetch_ahead = 0}, rows,
                                    out + (r - first), stride);
    }
  });
}

template <class I>
void sparse_rows(const SparseRows& w, const Rows& x, const Variant& how, int64_t first, int64_t last, float* y,
                 int64_t stride, void* room) {
  if (w.type == DenseType::bf16) return sparse_rows_of<I, DenseType::bf16>(w, x, how, first, last, y, stride, room);
  sparse_rows_of<I, DenseType::f16>(w, x, how, first, last, y, stride, room);
}

}  // namespace
}  // namespace pare::cpu
