#include "pare/weights/bitmask_layout.h"

#include <bit>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/weights/bitpack.h"

namespace pare {
namespace {

struct BitmaskSizes {
  int64_t rows, cols, kept;
};

BitmaskSizes sizes_of(const BitmaskParts& parts) {
  if (parts.row_offsets) {
    expect_stored(parts.shape, {Dtype::i64}, {2});
  } else {
    expect_stored(parts.shape, {Dtype::i64}, {2, 1});
  }
  BitmaskSizes s{.rows = parts.shape.item<int64_t>(0), .cols = parts.shape.item<int64_t>(1), .kept = 0};
  constexpr int64_t kLargest = int64_t{1} << 31;  // keeps rows x cols in 64 bits
  if (s.rows < 1 || s.cols < 1 || s.rows > kLargest || s.cols > kLargest) {
    throw InputError(parts.shape.name + ": says " + std::to_string(s.rows) + " x " + std::to_string(s.cols));
  }
  const std::initializer_list<Dtype> floats{Dtype::f16, Dtype::bf16, Dtype::f32, Dtype::f64};
  expect_stored(parts.bitmask, {Dtype::u8}, {s.rows, packed_bytes(s.cols, 1)});
  if (parts.row_offsets) {
    expect_stored(*parts.row_offsets, {Dtype::i64}, {s.rows});
    expect_stored(parts.compressed, floats, {-1});
    s.kept = parts.compressed.shape[0];
  } else {
    if (s.cols % 4 != 0) {
      throw InputError(parts.shape.name + ": rows of " + std::to_string(s.cols) + " are not whole groups of four");
    }
    expect_stored(parts.compressed, floats, {s.rows, s.cols / 2});
    s.kept = s.rows * (s.cols / 2);
  }
  return s;
}

// Bits past the last column, two of four where that is promised, and the counts of row_offsets and `compressed`.
void check_bits(const BitmaskParts& parts, const BitmaskSizes& s) {
  const auto* bits = reinterpret_cast<const uint8_t*>(parts.bitmask.data.data());
  const int64_t row_bytes = packed_bytes(s.cols, 1);
  int64_t before = 0;
  for (int64_t r = 0; r < s.rows; ++r, bits += row_bytes) {
    const std::string row = parts.bitmask.name + ": row " + std::to_string(r);
    if (s.cols % 8 != 0 && (bits[row_bytes - 1] >> (s.cols % 8)) != 0) {
      throw InputError(row + " has bits beyond column " + std::to_string(s.cols - 1));
    }
    if (parts.row_offsets && parts.row_offsets->item<int64_t>(r) != before) {
      throw InputError(parts.row_offsets->name + ": row " + std::to_string(r) + " starts at " +
                       std::to_string(parts.row_offsets->item<int64_t>(r)) + ", by the bitmask at " +
                       std::to_string(before));
    }
    for (int64_t b = 0; b < row_bytes; ++b) {
      before += std::popcount(bits[b]);
      const bool two_of_four = std::popcount(static_cast<uint8_t>(bits[b] & 15)) == 2 &&
                               (4 * (2 * b + 1) >= s.cols || std::popcount(static_cast<uint8_t>(bits[b] >> 4)) == 2);
      if (!parts.row_offsets && !two_of_four) {
        throw InputError(row + " does not keep two of every four around column " + std::to_string(8 * b));
      }
    }
  }
  if (before != s.kept) {
    throw InputError(parts.compressed.name + ": holds " + std::to_string(s.kept) + " values, the bitmask keeps " +
                     std::to_string(before));
  }
}

}  // namespace

WeightForm bitmask_form(const BitmaskParts& parts) {
  const BitmaskSizes s = sizes_of(parts);
  WeightForm form;
  form.shape = {s.rows, s.cols};
  form.dtype = parts.compressed.dtype;
  form.masked = true;
  if (!parts.row_offsets) {
    form.n = 2;
    form.m = 4;
  }
  form.kept = s.kept;
  return form;
}

Weight unpack_bitmask(const BitmaskParts& parts) {
  const BitmaskSizes s = sizes_of(parts);
  check_bits(parts, s);
  const auto value_bytes = as_size(size_of(parts.compressed.dtype));
  std::vector<std::byte> values(as_size(s.rows * s.cols) * value_bytes);
  const std::byte* src = parts.compressed.data.data();
  Mask mask;
  mask.bits.resize(parts.bitmask.data.size());
  std::memcpy(mask.bits.data(), parts.bitmask.data.data(), mask.bits.size());
  if (!parts.row_offsets) {
    mask.n = 2;
    mask.m = 4;
  }
  const int64_t row_bytes = packed_bytes(s.cols, 1);
  for (int64_t r = 0; r < s.rows; ++r) {
    for (int64_t b = 0; b < row_bytes; ++b) {
      for (uint32_t bits = mask.bits[as_size(r * row_bytes + b)]; bits != 0; bits &= bits - 1) {
        const int64_t c = 8 * b + std::countr_zero(bits);
        std::memcpy(values.data() + as_size(r * s.cols + c) * value_bytes, src, value_bytes);
        src += value_bytes;
      }
    }
  }
  return Weight{{s.rows, s.cols}, Dense{parts.compressed.dtype, Bytes(std::move(values))}, std::move(mask)};
}

std::string bitmask_why_not(const WeightForm& form, BitmaskLayout layout) {
  const std::string name = layout == BitmaskLayout::sparse ? "sparse-bitmask" : "sparse-24-bitmask";
  if (form.kind != WeightForm::Kind::dense || !is_float(form.dtype)) return name + " holds unquantized values only";
  if (!form.masked || form.shape.size() != 2) return name + " holds pruned matrices only";
  if (layout == BitmaskLayout::sparse_24 && (form.n != 2 || form.m != 4)) {
    return name + " wants exactly two of every four kept";
  }
  return {};
}

std::vector<TensorSpec> bitmask_tensors(const WeightForm& form, const std::string& parameter, BitmaskLayout layout) {
  PARE_ASSERT(bitmask_why_not(form, layout).empty());
  const int64_t rows = form.shape[0], cols = form.shape[1];
  const std::string module = module_of(parameter);
  if (layout == BitmaskLayout::sparse_24) {
    return {{module + ".shape", Dtype::i64, {2, 1}},
            {module + ".compressed", form.dtype, {rows, cols / 2}},
            {module + ".bitmask", Dtype::u8, {rows, packed_bytes(cols, 1)}}};
  }
  return {{module + ".shape", Dtype::i64, {2}},
          {module + ".compressed", form.dtype, {form.kept}},
          {module + ".bitmask", Dtype::u8, {rows, packed_bytes(cols, 1)}},
          {module + ".row_offsets", Dtype::i64, {rows}}};
}

std::vector<StoredTensor> pack_bitmask(const Weight& weight, const std::string& parameter, BitmaskLayout layout) {
  const WeightForm form = form_of(weight);
  PARE_ASSERT(bitmask_why_not(form, layout).empty());
  const auto& dense = std::get<Dense>(weight.base);
  const auto value_bytes = as_size(size_of(dense.dtype));
  const int64_t rows = weight.rows(), cols = weight.cols(), row_bytes = packed_bytes(cols, 1);
  std::vector<std::byte> compressed(as_size(form.kept) * value_bytes);
  std::vector<int64_t> offsets(as_size(rows));
  std::byte* dst = compressed.data();
  for (int64_t r = 0; r < rows; ++r) {
    offsets[as_size(r)] = (dst - compressed.data()) / static_cast<int64_t>(value_bytes);
    for (int64_t b = 0; b < row_bytes; ++b) {
      for (uint32_t bits = weight.mask->bits[as_size(r * row_bytes + b)]; bits != 0; bits &= bits - 1) {
        const int64_t c = 8 * b + std::countr_zero(bits);
        std::memcpy(dst, dense.data.span().data() + as_size(r * cols + c) * value_bytes, value_bytes);
        dst += value_bytes;
      }
    }
  }
  const auto bytes_of = [](const auto& items) {
    const auto bytes = std::as_bytes(std::span(items));
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  const std::string prefix = module_of(parameter);
  std::vector<StoredTensor> tensors;
  tensors.push_back({prefix + ".shape", bytes_of(std::vector<int64_t>{rows, cols})});
  tensors.push_back({prefix + ".compressed", std::move(compressed)});
  tensors.push_back({prefix + ".bitmask", bytes_of(weight.mask->bits)});
  if (layout == BitmaskLayout::sparse) tensors.push_back({prefix + ".row_offsets", bytes_of(offsets)});
  return tensors;
}

}  // namespace pare
