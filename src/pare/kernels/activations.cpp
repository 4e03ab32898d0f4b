#include <algorithm>

#include "pare/kernels/functions.h"
#include "pare/kernels/matrix.h"

namespace pare {

Activations::Activations(int64_t cols, Precision precision)
    : cols_(cols), blocks_((cols + kBlock - 1) / kBlock), precision_(precision) {}

void Activations::assign(const float* x, int64_t tokens, int64_t stride, ThreadPool& pool) {
  const int64_t padded = blocks_ * kBlock;
  tokens_ = tokens;
  const auto grow = [](auto& values, int64_t size) {
    if (static_cast<int64_t>(values.size()) < size) values.resize(static_cast<size_t>(size));
  };
  grow(values_, tokens * padded);
  if (precision_ == Precision::int8) {
    grow(codes_, tokens * padded);
    grow(scales_, tokens * blocks_);
    grow(sums_, 2 * tokens * blocks_);
  }
  const cpu::FunctionTable& functions = functions_of(current_isa());
  const auto one = [&](int64_t token) {
    float* row = values_.data() + token * padded;
    std::copy_n(x + token * stride, cols_, row);
    std::fill(row + cols_, row + padded, 0.0f);
    if (precision_ == Precision::int8) {
      functions.quantize(row, blocks_, codes_.data() + token * padded, scales_.data() + token * blocks_,
                         sums_.data() + 2 * token * blocks_);
    }
  };
  if (tokens == 1) return one(0);  // less work than it takes to tell the others
  pool.for_each(tokens, one);
}

}  // namespace pare
