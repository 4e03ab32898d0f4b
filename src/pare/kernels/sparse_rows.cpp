#include "pare/kernels/sparse_rows.h"

#include <bit>
#include <cstring>

#include "pare/kernels/panel_source.h"
#include "pare/weights/bitpack.h"

namespace pare {

std::optional<PackedSparseRows> pack_sparse_rows(const Weight& weight, ThreadPool& pool) {
  const auto* dense = std::get_if<Dense>(&weight.base);
  if (dense == nullptr || !weight.mask || (dense->dtype != Dtype::f16 && dense->dtype != Dtype::bf16)) return {};
  const int64_t rows = weight.rows(), cols = weight.cols(), per_row = (cols + 31) / 32,
                mask_bytes = packed_bytes(cols, 1);
  PackedSparseRows packed;
  packed.masks = AlignedBuffer(rows * per_row * 4);
  auto* masks = reinterpret_cast<uint32_t*>(packed.masks.data());
  packed.row_start.assign(static_cast<size_t>(rows) + 1, 0);
  pool.for_each(rows, [&](int64_t r) {
    // The stored mask has a row's bits in the same order, but rows that begin on a byte; bits after the last column
    // are nobody's.
    std::memcpy(masks + r * per_row, weight.mask->bits.data() + r * mask_bytes, static_cast<size_t>(mask_bytes));
    if (cols % 32 != 0) masks[(r + 1) * per_row - 1] &= (1u << (cols % 32)) - 1;
    for (int64_t b = 0; b < per_row; ++b) {
      packed.row_start[static_cast<size_t>(r) + 1] += std::popcount(masks[r * per_row + b]);
    }
  });
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) packed.row_start[r + 1] += packed.row_start[r];
  const int64_t total = packed.row_start.back();
  if (static_cast<double>(2 * total + rows * per_row * 4) >
      kLargestSparseShare * static_cast<double>(2 * rows * cols)) {
    return {};
  }
  packed.kept = AlignedBuffer(2 * total + 64);
  pool.for_each(rows, [&](int64_t r) {
    const auto* values = reinterpret_cast<const uint8_t*>(dense->data.span().data()) + 2 * r * cols;
    uint8_t* to = packed.kept.data() + 2 * packed.row_start[static_cast<size_t>(r)];
    for (int64_t b = 0; b < per_row; ++b) {
      for (uint32_t left = masks[r * per_row + b]; left != 0; left &= left - 1, to += 2) {
        std::memcpy(to, values + 2 * (32 * b + std::countr_zero(left)), 2);
      }
    }
  });
  packed.rows = {dense->dtype == Dtype::bf16 ? cpu::DenseType::bf16 : cpu::DenseType::f16, per_row, masks,
                 packed.kept.data(), packed.row_start.data()};
  return packed;
}

}  // namespace pare
