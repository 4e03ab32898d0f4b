#include "pare/weights/grouped_ints.h"

#include <algorithm>

#include "pare/base/error.h"
#include "pare/weights/bitpack.h"

namespace pare {

GroupedInts plain_ints(const Weight& weight) {
  const auto* base = std::get_if<GroupedInts>(&weight.base);
  PARE_ASSERT(base != nullptr);
  GroupedInts ints = *base;
  const int shift = ints.ternary ? 1 : 0;
  if (ints.ternary) {
    for (uint8_t& zero : ints.zeros) ++zero;
    ints.ternary = false;
  }
  if (shift == 0 && !weight.mask) return ints;

  const int64_t rows = weight.rows(), cols = weight.cols(), groups = groups_in(cols, ints.group);
  const int64_t row_bytes = packed_bytes(cols, ints.bits), mask_bytes = packed_bytes(cols, 1);
  std::vector<uint8_t> codes(static_cast<size_t>(cols));
  for (int64_t r = 0; r < rows; ++r) {
    const auto row = std::span(ints.codes).subspan(static_cast<size_t>(r * row_bytes), static_cast<size_t>(row_bytes));
    unpack_bits(row, ints.bits, codes);
    for (int64_t c = 0; c < cols; ++c) {
      uint8_t& code = codes[static_cast<size_t>(c)];
      code = static_cast<uint8_t>(code + shift);
      if (!weight.mask || ((weight.mask->bits[static_cast<size_t>(r * mask_bytes + c / 8)] >> (c % 8)) & 1) != 0)
        continue;
      const int64_t g = ints.group_index.empty() ? c / ints.group : ints.group_index[static_cast<size_t>(c)];
      code = ints.zeros.empty() ? static_cast<uint8_t>(1 << (ints.bits - 1))
                                : ints.zeros[static_cast<size_t>(r * groups + g)];
    }
    pack_bits(codes, ints.bits, row);
  }
  return ints;
}

WeightForm plain_ints(const WeightForm& form) {
  PARE_ASSERT(form.kind == WeightForm::Kind::grouped_ints);
  WeightForm plain = form;
  plain.ternary = false;
  plain.masked = false;
  plain.n = plain.m = 0;
  plain.kept = plain.elements();
  return plain;
}

bool is_plain_order(std::span<const int32_t> group_index, int64_t group) {
  for (size_t c = 0; c < group_index.size(); ++c) {
    if (group_index[c] != static_cast<int64_t>(c) / group) return false;
  }
  return true;
}

void transpose_words(const uint32_t* src, int64_t rows, int64_t cols, uint32_t* dst) {
  constexpr int64_t kTile = 16;  // one cache line a row of the tile
  for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
    const int64_t r1 = std::min(rows, r0 + kTile);
    for (int64_t c0 = 0; c0 < cols; c0 += kTile) {
      const int64_t c1 = std::min(cols, c0 + kTile);
      for (int64_t r = r0; r < r1; ++r) {
        for (int64_t c = c0; c < c1; ++c) dst[c * rows + r] = src[r * cols + c];
      }
    }
  }
}

}  // namespace pare
