#include "pare/nn/to_tensor.h"

#include <ATen/Parallel.h>

#include <cstring>

#include "pare/base/error.h"

namespace pare {
namespace {

std::span<const std::byte> bytes_of(const at::Tensor& values) {
  return {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()};
}

}  // namespace

at::Tensor to_tensor(const Weight& weight, at::ScalarType dtype) {
  PARE_ASSERT(dtype == at::kFloat || dtype == at::kBFloat16);
  at::Tensor result = at::empty(weight.shape, at::TensorOptions(dtype));
  const int64_t rows = weight.rows(), cols = weight.cols();
  if (rows == 0 || cols == 0) return result;
  const auto* dense = std::get_if<Dense>(&weight.base);
  if (dense != nullptr && !weight.mask && dtype == at::kBFloat16 && dense->dtype == Dtype::bf16) {
    std::memcpy(result.mutable_data_ptr(), dense->data.span().data(), result.nbytes());
    return result;
  }
  const int64_t rows_a_piece = std::max<int64_t>(1, 32768 / cols);
  at::parallel_for(0, rows, rows_a_piece, [&](int64_t begin, int64_t end) {
    if (dtype == at::kFloat) {
      float* dst = result.mutable_data_ptr<float>();
      weight.unpack_rows(begin, end - begin, {dst + begin * cols, static_cast<size_t>((end - begin) * cols)});
      return;
    }
    std::vector<float> piece(static_cast<size_t>(rows_a_piece * cols));
    auto* dst = static_cast<std::byte*>(result.mutable_data_ptr());
    for (int64_t row = begin; row < end; row += rows_a_piece) {
      const int64_t count = std::min(rows_a_piece, end - row);
      weight.unpack_rows(row, count, {piece.data(), static_cast<size_t>(count * cols)});
      from_float(Dtype::bf16, piece.data(), count * cols, dst + row * cols * 2);
    }
  });
  return result;
}

Weight to_weight(const at::Tensor& values, Dtype dtype) {
  const at::Tensor plain = values.to(at::kFloat).contiguous();
  if (dtype == Dtype::bf16 && values.scalar_type() == at::kBFloat16) {
    const auto bytes = bytes_of(values.contiguous());
    return {.shape = values.sizes().vec(), .base = Dense{dtype, Bytes({bytes.begin(), bytes.end()})}, .mask = {}};
  }
  return dense_weight(values.sizes().vec(), dtype, {plain.const_data_ptr<float>(), static_cast<size_t>(plain.numel())});
}

}  // namespace pare
