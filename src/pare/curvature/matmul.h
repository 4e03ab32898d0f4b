// Single-threaded products in a fixed order of summation, for work that is cut into tasks (parallel_tasks.h).
//
// Why not the BLAS: it does not promise the same bytes on other CPUs, other thread counts or other cuts of the same
// product. Here each element of C is one chain of fused multiply-adds over ascending k, whatever the blocking:
//
//   chain    c = fma(a_k, b_k, c) for k = 0, 1, ...: a product cut into several along k gives the same bytes
//   blocks   such chains from 0 over kProductBlock of k each, added to c one after another: less rounding in long sums
//
// Speed beside MKL's, same machine: see bench/gptq_solve (`gemm`).
#pragma once

#include <cstdint>
#include <memory>

#include "pare/base/simd.h"

namespace pare {

constexpr int64_t kProductBlock = 256;

template <typename T>
struct Strided {
  const T* data;
  int64_t row_stride, col_stride;  // in elements
};
template <typename T>
Strided<T> row_major(const T* data, int64_t stride) {
  return {data, stride, 1};
}
template <typename T>
Strided<T> transposed(const T* data, int64_t stride) {
  return {data, 1, stride};
}

enum class Summation { chain, blocks };

// C[m, n] += sign * A[m, k] B[k, n];  C has rows `c_stride` apart and overlaps neither A nor B.
template <typename T>
void add_product(T* c, int64_t c_stride, int64_t m, int64_t n, int64_t k, Strided<T> a, Strided<T> b, T sign,
                 Summation summation, simd::Level level = simd::best_level());

// The columns of X [tokens, columns], packed once for all tiles of X^T Y that need them.
class PackedColumns {
 public:
  static constexpr int64_t kStep = 96;  // tiles begin at multiples of it
  explicit PackedColumns(int64_t columns);

  // The next X is x [tokens <= kProductBlock, columns], rows `stride` apart; then pack its columns first .. first +
  // count, in any order and by any number of threads.
  void begin(const float* x, int64_t stride, int64_t tokens);
  void pack(int64_t first, int64_t count);

  // c [rows, cols] += X[:, row ..]^T Y[:, col ..], summed as Summation::blocks.
  static void add_tile(const PackedColumns& x, const PackedColumns& y, float* c, int64_t c_stride, int64_t row,
                       int64_t rows, int64_t col, int64_t cols);

 private:
  struct Free {
    void operator()(float* data) const;
  };
  std::unique_ptr<float, Free> left_, right_;
  const float* x_ = nullptr;
  int64_t columns_, stride_ = 0, tokens_ = 0;
};

extern template void add_product<float>(float*, int64_t, int64_t, int64_t, int64_t, Strided<float>, Strided<float>,
                                        float, Summation, simd::Level);
extern template void add_product<double>(double*, int64_t, int64_t, int64_t, int64_t, Strided<double>, Strided<double>,
                                         double, Summation, simd::Level);

}  // namespace pare
