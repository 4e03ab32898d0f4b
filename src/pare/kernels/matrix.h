// A weight made ready to be multiplied fast: y [tokens, rows] = x [tokens, cols] W^T.
//
//   Matrix w = Matrix::prepare(weight, pool);        // repacked, or a view of the file where that is as fast
//   Activations x(w.cols(), Precision::int8);
//   x.assign(values, tokens, w.cols(), pool);        // once for all matrices that share the input
//   multiply(w, x, y, w.rows(), pool);
//
// Two ways to multiply packed weights, both tested against the scalar reference Weight::unpack():
//   int8  x is rounded to 8 bits in blocks of 32 (scale = largest/127, to nearest even; the same bytes on every
//         instruction set), products are exact integers, each block's sum is scaled in f32. The default: x is off by
//         0.5 %, and 4 times as many products fit in an instruction.
//   f32   weights are decoded exactly, products and sums in f32. For accuracy, and for dense weights always.
// The same bytes for any number of threads, and for a token alone or among others.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pare/kernels/cpu/function_table.h"
#include "pare/kernels/thread_pool.h"
#include "pare/kernels/tuning.h"
#include "pare/weights/weight.h"
#include "pare/weights/weight_form.h"

namespace pare {

enum class Precision { int8, f32 };

// Rows of x, in f32 and, for int8, as codes with a scale for each block of 32 columns.
class Activations {
 public:
  static constexpr int64_t kBlock = 32;

  Activations(int64_t cols, Precision precision);
  // Reads x [tokens, cols], rows `stride` apart; keeps its own copy (f32 rows padded with zeros to whole blocks).
  void assign(const float* x, int64_t tokens, int64_t stride, ThreadPool& pool);

  int64_t cols() const { return cols_; }
  int64_t blocks() const { return blocks_; }
  int64_t tokens() const { return tokens_; }
  Precision precision() const { return precision_; }
  const float* values(int64_t token) const { return values_.data() + token * blocks_ * kBlock; }
  cpu::Rows rows() const;

 private:
  int64_t cols_, blocks_, tokens_ = 0;
  Precision precision_;
  std::vector<float> values_;
  std::vector<int8_t> codes_;
  std::vector<cpu::BlockFacts> facts_;
};

class Matrix {
 public:
  Matrix() = default;
  // Any weight that Weight can hold. `weight` may go away afterwards; of one that is a view of a file and multiplied in
  // place, the owner is kept.
  // `tuning`: how its products go, where that was measured for this number of threads; never what they give.
  static Matrix prepare(const Weight& weight, ThreadPool& pool, const TuningTable* tuning = nullptr);

  int64_t rows() const;
  int64_t cols() const;
  uint64_t bytes() const;      // read for one product with one token
  bool in_panels() const;      // else rows as they are, or sparse rows
  std::string layout() const;  // "panels of 4-bit codes, groups of 32", "rows of F16"
  const Variants& variants() const { return variants_; }
  void set_variants(const Variants& variants) { variants_ = variants; }

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
  Variants variants_;
};

// About the bytes that a weight of this form takes once it is prepared; at most a tenth less than it really does.
uint64_t prepared_bytes(const WeightForm& form);

// y [x.tokens(), rows], rows of y `stride` apart. Dense weights take x in f32 whatever its precision.
void multiply(const Matrix& matrix, const Activations& x, float* y, int64_t stride, ThreadPool& pool);

struct Product {
  const Matrix* matrix;
  float* y;
  int64_t stride;
};
// Several with the same x, in one go of the threads.
void multiply(std::span<const Product> products, const Activations& x, ThreadPool& pool);

}  // namespace pare
