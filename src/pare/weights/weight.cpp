#include "pare/weights/weight.h"

#include <bit>
#include <cmath>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/weights/bitpack.h"
#include "pare/weights/gguf_blocks.h"
#include "pare/weights/grouped_ints.h"
#include "pare/weights/weight_form.h"

namespace pare {
namespace {

size_t at(int64_t index) {
  return static_cast<size_t>(index);
}

void unpack_ints(const GroupedInts& ints, int64_t cols, int64_t first, int64_t count, float* dst) {
  const int64_t row_bytes = packed_bytes(cols, ints.bits), groups = groups_in(cols, ints.group);
  const int symmetric_zero = ints.ternary ? 1 : 1 << (ints.bits - 1);
  std::vector<uint8_t> codes(at(cols));
  for (int64_t r = first; r < first + count; ++r, dst += cols) {
    unpack_bits(std::span(ints.codes).subspan(at(r * row_bytes), at(row_bytes)), ints.bits, codes);
    const float* scales = ints.scales.data() + r * groups;
    const uint8_t* zeros = ints.zeros.empty() ? nullptr : ints.zeros.data() + r * groups;
    if (!ints.group_index.empty()) {
      for (int64_t c = 0; c < cols; ++c) {
        const int32_t g = ints.group_index[at(c)];
        const int zero = zeros != nullptr ? zeros[g] : symmetric_zero;
        dst[c] = scales[g] * static_cast<float>(codes[at(c)] - zero);
      }
      continue;
    }
    for (int64_t g = 0; g < groups; ++g) {
      const float scale = scales[g];
      const int zero = zeros != nullptr ? zeros[g] : symmetric_zero;
      const int64_t end = std::min(cols, (g + 1) * ints.group);
      for (int64_t c = g * ints.group; c < end; ++c) dst[c] = scale * static_cast<float>(codes[at(c)] - zero);
    }
  }
}

void unpack_additive(const AdditiveCodes& w, int64_t cols, int64_t first, int64_t count, float* dst) {
  const int64_t groups = cols / w.in_group, entries = int64_t{1} << w.bits;
  for (int64_t row = first; row < first + count; ++row, dst += cols) {
    const uint16_t* codes = w.codes.data() + row / w.out_group * groups * w.books;
    const float* books = w.codebooks.data() + row % w.out_group * w.in_group;
    const float scale = w.scales[at(row / w.out_group)];
    for (int64_t j = 0; j < groups; ++j) {
      float* group = dst + j * w.in_group;
      std::fill(group, group + w.in_group, 0.0f);
      for (int64_t b = 0; b < w.books; ++b) {
        const float* entry = books + (b * entries + codes[j * w.books + b]) * w.out_group * w.in_group;
        for (int64_t t = 0; t < w.in_group; ++t) group[t] += entry[t];
      }
      for (int64_t t = 0; t < w.in_group; ++t) group[t] *= scale;
    }
  }
}

void apply_mask(const Mask& mask, int64_t cols, int64_t first, int64_t count, float* dst) {
  const int64_t row_bytes = packed_bytes(cols, 1);
  for (int64_t r = first; r < first + count; ++r, dst += cols) {
    const uint8_t* bits = mask.bits.data() + r * row_bytes;
    for (int64_t c = 0; c < cols; ++c) {
      if (((bits[c / 8] >> (c % 8)) & 1) == 0) dst[c] = 0;
    }
  }
}

// Where the f16 scales of a block stand; what must be finite for its values to be.
struct ScalePlaces {
  uint32_t id;
  int64_t first, second;  // -1: there is no second
};
constexpr ScalePlaces kScalePlaces[] = {{2, 0, -1},    {3, 0, 2},  {6, 0, -1}, {7, 0, 2},     {8, 0, -1},  {10, 80, 82},
                                        {11, 108, -1}, {12, 0, 2}, {13, 0, 2}, {14, 208, -1}, {20, 0, -1}, {23, 0, -1}};

bool is_stored_float(Dtype dtype) {
  return dtype == Dtype::f16 || dtype == Dtype::bf16 || dtype == Dtype::f32;
}

bool holds_exactly(Dtype dtype, float value) {
  std::byte stored[4];
  float back = 0;
  from_float(dtype, &value, 1, stored);
  to_float(dtype, stored, 1, &back);
  return back == value;
}

class Checker {
 public:
  Checker(const Weight& weight, const std::string& name) : weight_(weight), name_(name) {}

  void check() {
    const auto elements = checked_product<int64_t>(weight_.shape);
    if (!elements) fail("its shape has a negative or too large dimension");
    std::visit([&](const auto& base) { check_base(base, *elements); }, weight_.base);
    if (weight_.mask) check_mask(*weight_.mask);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw InputError(name_ + ": " + what); }

  void expect_count(const char* what, size_t found, int64_t expected) const {
    if (static_cast<int64_t>(found) != expected) {
      fail(std::string(what) + ": found " + std::to_string(found) + ", expected " + std::to_string(expected));
    }
  }

  void expect_matrix() const {
    if (weight_.shape.size() != 2) {
      fail("packed weights are matrices; this one has " + std::to_string(weight_.shape.size()) + " dimensions");
    }
  }

  void check_base(const Dense& dense, int64_t elements) const {
    const auto bytes = checked_mul(elements, size_of(dense.dtype));
    if (!bytes) fail("its shape has a negative or too large dimension");
    expect_count("bytes of values", dense.data.size(), *bytes);
  }

  void check_base(const GroupedInts& ints, int64_t) const {
    expect_matrix();
    const int64_t rows = weight_.rows(), cols = weight_.cols();
    if (ints.bits < 2 || ints.bits > 8) fail(std::to_string(ints.bits) + " bits; expected 2 to 8");
    if (ints.ternary && ints.bits != 2) fail("ternary codes have 2 bits, not " + std::to_string(ints.bits));
    if (ints.group < 1) fail("group " + std::to_string(ints.group) + "; expected at least 1");
    if (!is_stored_float(ints.scale_dtype)) {
      fail("scales of type " + std::string(name_of(ints.scale_dtype)) + "; expected F16, BF16 or F32");
    }
    const int64_t groups = groups_in(cols, ints.group);
    expect_count("bytes of codes", ints.codes.size(), rows * packed_bytes(cols, ints.bits));
    expect_count("scales", ints.scales.size(), rows * groups);
    check_scales(ints, groups);
    check_zeros(ints, groups);
    if (!ints.group_index.empty()) {
      expect_count("entries of the group index", ints.group_index.size(), cols);
      for (size_t c = 0; c < ints.group_index.size(); ++c) {
        if (ints.group_index[c] < 0 || ints.group_index[c] >= groups) {
          fail("column " + std::to_string(c) + " is of group " + std::to_string(ints.group_index[c]) + "; there are " +
               std::to_string(groups) + " groups");
        }
      }
    }
    if (ints.ternary) check_ternary(ints);
  }

  void check_scales(const GroupedInts& ints, int64_t groups) const {
    for (size_t i = 0; i < ints.scales.size(); ++i) {
      const float scale = ints.scales[i];
      const auto place = [&] {
        return "of row " + std::to_string(static_cast<int64_t>(i) / groups) + ", group " +
               std::to_string(static_cast<int64_t>(i) % groups);
      };
      if (!std::isfinite(scale)) fail("the scale " + place() + " is not finite");
      if (!holds_exactly(ints.scale_dtype, scale)) {
        fail("the scale " + place() + " is " + std::to_string(scale) + ", which " +
             std::string(name_of(ints.scale_dtype)) + " does not hold exactly");
      }
    }
  }

  void check_zeros(const GroupedInts& ints, int64_t groups) const {
    if (ints.symmetric) {
      if (!ints.zeros.empty()) fail("symmetric, yet it has zero points");
      return;
    }
    expect_count("zero points", ints.zeros.size(), weight_.rows() * groups);
    const int highest = ints.ternary ? 2 : (1 << ints.bits) - 1;
    for (uint8_t zero : ints.zeros) {
      if (zero > highest) fail("zero point " + std::to_string(zero) + "; the largest is " + std::to_string(highest));
    }
  }

  void check_ternary(const GroupedInts& ints) const {
    const int64_t row_bytes = packed_bytes(weight_.cols(), 2);
    std::vector<uint8_t> codes(at(weight_.cols()));
    for (int64_t r = 0; r < weight_.rows(); ++r) {
      unpack_bits(std::span(ints.codes).subspan(at(r * row_bytes), at(row_bytes)), 2, codes);
      for (uint8_t code : codes) {
        if (code > 2) fail("row " + std::to_string(r) + " has code 3; ternary codes are 0, 1 and 2");
      }
    }
  }

  void check_base(const GgufBlocks& blocks, int64_t) const {
    expect_matrix();
    if (blocks.type == nullptr || !can_decode(*blocks.type)) fail("a GGUF block type that Pare does not decode");
    const GgmlType& type = *blocks.type;
    if (weight_.cols() % type.block_elements != 0) {
      fail(std::string(type.name) + " blocks hold " + std::to_string(type.block_elements) + " elements; rows of " +
           std::to_string(weight_.cols()) + " are not whole blocks");
    }
    const int64_t count = weight_.rows() * (weight_.cols() / type.block_elements);
    expect_count("bytes of blocks", blocks.data.size(), count * type.block_bytes);
    for (const ScalePlaces& scales : kScalePlaces) {
      if (scales.id == type.id) check_block_scales(blocks, scales, count);
    }
  }

  void check_block_scales(const GgufBlocks& blocks, const ScalePlaces& scales, int64_t count) const {
    const auto* bytes = reinterpret_cast<const uint8_t*>(blocks.data.span().data());
    const auto finite = [&](int64_t offset) {
      return (bytes[offset + 1] & 0x7c) != 0x7c;
    };  // f16 exponent not all ones
    for (int64_t i = 0; i < count; ++i) {
      const int64_t block = i * blocks.type->block_bytes;
      if (!finite(block + scales.first) || (scales.second >= 0 && !finite(block + scales.second))) {
        const int64_t blocks_a_row = weight_.cols() / blocks.type->block_elements;
        fail("the scale of row " + std::to_string(i / blocks_a_row) + ", block " + std::to_string(i % blocks_a_row) +
             " is not finite");
      }
    }
  }

  void check_base(const AdditiveCodes& w, int64_t) const {
    expect_matrix();
    if (w.bits < 1 || w.bits > 16) fail("codes of " + std::to_string(w.bits) + " bits; expected 1 to 16");
    if (w.books < 1 || w.books > kMostBooks) fail(std::to_string(w.books) + " codebooks; expected 1 to 256");
    if (w.out_group < 1 || w.in_group < 1 || w.out_group > kMostInGroup || w.in_group > kMostInGroup / w.out_group) {
      fail("groups of " + std::to_string(w.out_group) + " x " + std::to_string(w.in_group) + "; expected at most 256");
    }
    const int64_t rows = weight_.rows(), cols = weight_.cols();
    if (rows % w.out_group != 0 || cols % w.in_group != 0) {
      fail(std::to_string(rows) + " x " + std::to_string(cols) + " values are not whole groups of " +
           std::to_string(w.out_group) + " x " + std::to_string(w.in_group));
    }
    const int64_t entries = int64_t{1} << w.bits;
    expect_count("codes", w.codes.size(), rows / w.out_group * (cols / w.in_group) * w.books);
    expect_count("values of codebooks", w.codebooks.size(), w.books * entries * w.out_group * w.in_group);
    expect_count("scales", w.scales.size(), rows / w.out_group);
    const auto code = std::find_if(w.codes.begin(), w.codes.end(), [&](uint16_t one) { return one >= entries; });
    if (code != w.codes.end()) {
      fail("code " + std::to_string(*code) + ", and " + std::to_string(entries) + " entries to choose from");
    }
    check_floats(w.codebooks, w.book_dtype, "value", "of the codebooks");
    check_floats(w.scales, w.scale_dtype, "scale", "");
  }

  void check_floats(const std::vector<float>& values, Dtype dtype, const char* what, const char* of) const {
    if (!is_stored_float(dtype)) {
      fail(std::string(what) + "s of type " + std::string(name_of(dtype)) + "; expected F16, BF16 or F32");
    }
    for (size_t i = 0; i < values.size(); ++i) {
      const auto place = [&] { return std::string(what) + " " + std::to_string(i) + (*of != 0 ? " " : "") + of; };
      if (!std::isfinite(values[i])) fail(place() + " is not finite");
      if (!holds_exactly(dtype, values[i])) {
        fail(place() + " is " + std::to_string(values[i]) + ", which " + std::string(name_of(dtype)) +
             " does not hold exactly");
      }
    }
  }

  void check_mask(const Mask& mask) const {
    expect_matrix();
    const int64_t rows = weight_.rows(), cols = weight_.cols(), row_bytes = packed_bytes(cols, 1);
    expect_count("bytes of the mask", mask.bits.size(), rows * row_bytes);
    if (mask.m < 0 || mask.n < 0 || mask.n > mask.m || (mask.m > 0 && cols % mask.m != 0)) {
      fail("a mask of " + std::to_string(mask.n) + ":" + std::to_string(mask.m) + " on rows of " +
           std::to_string(cols));
    }
    for (int64_t r = 0; r < rows; ++r) {
      const uint8_t* bits = mask.bits.data() + r * row_bytes;
      if (cols % 8 != 0 && (bits[row_bytes - 1] >> (cols % 8)) != 0) {
        fail("row " + std::to_string(r) + " of the mask has bits beyond its last column");
      }
      for (int64_t first = 0; mask.m > 0 && first < cols; first += mask.m) {
        int kept = 0;
        for (int64_t c = first; c < first + mask.m; ++c) kept += (bits[c / 8] >> (c % 8)) & 1;
        if (kept != mask.n) {
          fail("row " + std::to_string(r) + " keeps " + std::to_string(kept) + " of columns " + std::to_string(first) +
               " to " + std::to_string(first + mask.m - 1) + "; its mask says " + std::to_string(mask.n) + ":" +
               std::to_string(mask.m));
        }
      }
    }
  }

  const Weight& weight_;
  const std::string& name_;
};

}  // namespace

Bytes::Bytes(std::vector<std::byte> owned) {
  auto held = std::make_shared<const std::vector<std::byte>>(std::move(owned));
  view_ = *held;
  owner_ = std::move(held);
}

Bytes Bytes::view(std::span<const std::byte> bytes, std::shared_ptr<const void> owner) {
  Bytes result;
  result.view_ = bytes;
  result.owner_ = std::move(owner);
  return result;
}

int64_t Weight::rows() const {
  int64_t product = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) product *= shape[i];
  return product;
}

int64_t Weight::cols() const {
  return shape.empty() ? 1 : shape.back();
}

void Weight::unpack_rows(int64_t first, int64_t count, std::span<float> dst) const {
  PARE_ASSERT(first >= 0 && count >= 0 && first + count <= rows());
  PARE_ASSERT(static_cast<int64_t>(dst.size()) == count * cols());
  if (dst.empty()) return;
  if (const auto* dense = std::get_if<Dense>(&base)) {
    const std::byte* src = dense->data.span().data() + first * cols() * size_of(dense->dtype);
    to_float(dense->dtype, src, count * cols(), dst.data());
  } else if (const auto* ints = std::get_if<GroupedInts>(&base)) {
    unpack_ints(*ints, cols(), first, count, dst.data());
  } else if (const auto* additive = std::get_if<AdditiveCodes>(&base)) {
    unpack_additive(*additive, cols(), first, count, dst.data());
  } else {
    const auto& blocks = std::get<GgufBlocks>(base);
    const int64_t row_bytes = cols() / blocks.type->block_elements * blocks.type->block_bytes;
    decode_blocks(*blocks.type, blocks.data.span().subspan(at(first * row_bytes), at(count * row_bytes)), dst);
  }
  if (mask) apply_mask(*mask, cols(), first, count, dst.data());
}

void Weight::unpack(std::span<float> dst) const {
  unpack_rows(0, rows(), dst);
}

std::vector<float> Weight::unpack() const {
  std::vector<float> values(at(elements()));
  unpack(values);
  return values;
}

uint64_t Weight::bytes() const {
  return form_of(*this).bytes();
}

double Weight::bits_per_weight() const {
  return elements() == 0 ? 0 : 8.0 * static_cast<double>(bytes()) / static_cast<double>(elements());
}

std::string Weight::describe() const {
  return form_of(*this).describe();
}

Weight dense_weight(std::vector<int64_t> shape, Dtype dtype, std::span<const float> values) {
  Weight weight{std::move(shape), Dense{dtype, {}}, {}};
  PARE_ASSERT(static_cast<int64_t>(values.size()) == weight.elements());
  std::vector<std::byte> data(values.size() * at(size_of(dtype)));
  from_float(dtype, values.data(), static_cast<int64_t>(values.size()), data.data());
  std::get<Dense>(weight.base).data = Bytes(std::move(data));
  return weight;
}

void check_weight(const Weight& weight, const std::string& name) {
  Checker(weight, name).check();
}

}  // namespace pare
