#include "pare/weights/block_grids.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/base/float_types.h"
#include "pare/weights/bitpack.h"
#include "pare/weights/encode/scalar_type.h"
#include "pare/weights/gguf_blocks.h"
#include "pare/weights/grouped_ints.h"

namespace pare {
namespace {

struct GridType {
  const char* name;
  int bits;
  int lowest, highest;
  bool minimum;           // d * code + m
  int64_t scale_at = -1;  // where d stands in the block; of those that are read as grids
  bool any_level = true;  // else a few of them only: read as a grid, and no grid is written so
};
// By size, a type with a minimum after its like.
constexpr GridType kGridTypes[] = {{"TQ1_0", 2, -1, 1, false, 52},        {"TQ2_0", 2, -1, 1, false, 64},
                                   {"Q4_0", 4, -8, 7, false, 0},          {"Q4_1", 4, 0, 15, true},
                                   {"Q5_0", 5, -16, 15, false, 0},        {"Q5_1", 5, 0, 31, true},
                                   {"Q8_0", 8, -128, 127, false, 0},      {"IQ4_NL", 8, -128, 127, false, 0, false},
                                   {"MXFP4", 5, -16, 15, false, 0, false}};

bool is_mxfp4(const GridType& grid) {
  return std::string_view(grid.name) == "MXFP4";
}

// What a block's levels are multiplied with; it is one in the block after.
float take_scale(const GridType& grid, std::byte* block) {
  std::byte* at = block + grid.scale_at;
  if (is_mxfp4(grid)) {  // levels are halves there: 2^(e-127) * 0.5 = 2^(e-128)
    const int exponent = std::to_integer<int>(*at);
    *at = std::byte{128};
    return exponent == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, exponent - 128);
  }
  uint16_t scale = 0;
  const uint16_t one = float_to_f16(1.0f);
  std::memcpy(&scale, at, sizeof scale);
  std::memcpy(at, &one, sizeof one);
  return f16_to_float(scale);
}

const GridType* grid_type(const GgmlType* type) {
  const auto found = std::find_if(std::begin(kGridTypes), std::end(kGridTypes),
                                  [&](const GridType& grid) { return type != nullptr && type->name == grid.name; });
  return found == std::end(kGridTypes) ? nullptr : found;
}

bool f16_holds(float value) {
  return f16_to_float(float_to_f16(value)) == value;
}

// One block's codes as `type` stores them, counted from its lowest level; false when a value has no place there.
bool block_of(const GridType& grid, const uint8_t* codes, int64_t count, float scale, int zero, uint8_t* places,
              BlockScales& scales) {
  scales.d = scale;
  if (!f16_holds(scale)) return false;
  if (grid.minimum) {
    scales.dmin = zero == 0 ? 0.0f : scale * static_cast<float>(zero);
    if (!std::isfinite(scales.dmin) || !f16_holds(scales.dmin)) return false;
  }
  const int lowest = grid.bits == 8 ? -127 : grid.lowest;  // Q8_0's packer counts from there, wrapping for -128
  for (int64_t j = 0; j < count; ++j) {
    const int level = grid.minimum ? codes[j] : codes[j] - zero;
    if (level < grid.lowest || level > grid.highest) return false;
    places[j] = static_cast<uint8_t>(level - lowest);
  }
  return true;
}

}  // namespace

bool is_plain_grid(const WeightForm& form) {
  const GridType* grid = grid_type(form.gguf_type);
  return form.kind == WeightForm::Kind::gguf_blocks && grid != nullptr && !grid->minimum;
}

WeightForm grid_form(const WeightForm& blocks) {
  PARE_ASSERT(is_plain_grid(blocks));
  WeightForm form;
  form.shape = blocks.shape;
  form.kind = WeightForm::Kind::grouped_ints;
  form.dtype = Dtype::f16;  // the type to compute in, as its scales
  form.bits = grid_type(blocks.gguf_type)->bits;
  form.ternary = form.bits == 2;
  if (is_mxfp4(*grid_type(blocks.gguf_type))) form.scale_dtype = Dtype::bf16;  // powers of two of any size
  form.group = blocks.gguf_type->block_elements;
  form.kept = form.elements();
  return form;
}

Weight grid_of(const Weight& weight) {
  const auto& blocks = std::get<GgufBlocks>(weight.base);
  const WeightForm form = grid_form(form_of(weight));
  const GridType& grid = *grid_type(blocks.type);
  GroupedInts ints{.bits = form.bits,
                   .group = form.group,
                   .symmetric = true,
                   .scale_dtype = form.scale_dtype,
                   .ternary = form.ternary};
  const int64_t rows = weight.rows(), cols = weight.cols(), row_bytes = packed_bytes(cols, ints.bits);
  ints.codes.resize(as_size(rows * row_bytes));
  ints.scales.reserve(as_size(rows * cols / form.group));
  std::vector<uint8_t> codes(as_size(cols));
  std::vector<std::byte> block(as_size(blocks.type->block_bytes));
  std::vector<float> levels(as_size(form.group));
  const std::byte* src = blocks.data.span().data();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; c += form.group, src += block.size()) {
      std::memcpy(block.data(), src, block.size());
      ints.scales.push_back(take_scale(grid, block.data()));
      decode_blocks(*blocks.type, block, levels);
      for (int64_t j = 0; j < form.group; ++j) {
        codes[as_size(c + j)] = static_cast<uint8_t>(static_cast<int>(levels[as_size(j)]) - grid.lowest);
      }
    }
    pack_bits(codes, ints.bits, std::span(ints.codes).subspan(as_size(r * row_bytes), as_size(row_bytes)));
  }
  return {weight.shape, std::move(ints), {}};
}

std::optional<Weight> exact_blocks(const Weight& weight, const GgmlType& type) {
  const GridType* grid = grid_type(&type);
  const int64_t rows = weight.rows(), cols = weight.cols(), size = type.block_elements;
  if (grid == nullptr || !grid->any_level || cols % size != 0) return std::nullopt;
  const GroupedInts ints = plain_ints(weight);
  const ScalarType& scalar = *scalar_type(type);
  const int64_t groups = groups_in(cols, ints.group), row_bytes = packed_bytes(cols, ints.bits);
  std::vector<std::byte> out(as_size(rows * (cols / size) * type.block_bytes));
  std::vector<uint8_t> codes(as_size(cols)), places(as_size(size));
  auto* dst = reinterpret_cast<uint8_t*>(out.data());
  const auto group_of = [&](int64_t c) {
    return ints.group_index.empty() ? c / ints.group : int64_t{ints.group_index[as_size(c)]};
  };
  for (int64_t r = 0; r < rows; ++r) {
    unpack_bits(std::span(ints.codes).subspan(as_size(r * row_bytes), as_size(row_bytes)), ints.bits, codes);
    for (int64_t c = 0; c < cols; c += size, dst += type.block_bytes) {
      const int64_t g = group_of(c);
      for (int64_t j = 1; j < size; ++j) {
        if (group_of(c + j) != g) return std::nullopt;
      }
      const int zero = ints.zeros.empty() ? 1 << (ints.bits - 1) : ints.zeros[as_size(r * groups + g)];
      BlockScales scales;
      if (!block_of(*grid, codes.data() + c, size, ints.scales[as_size(r * groups + g)], zero, places.data(), scales)) {
        return std::nullopt;
      }
      scalar.pack(scales, places.data(), dst);
    }
  }
  return Weight{weight.shape, GgufBlocks{&type, Bytes(std::move(out))}, {}};
}

const GgmlType* exact_block_type(const Weight& weight) {
  const auto& ints = std::get<GroupedInts>(weight.base);
  for (const GridType& grid : kGridTypes) {
    if (grid.minimum && ints.symmetric) continue;
    const GgmlType* type = ggml_type_named(grid.name);
    // of the ternary two the one that runtimes are fast with
    if (std::string_view(grid.name) != "TQ1_0" && exact_blocks(weight, *type)) return type;
  }
  return nullptr;
}

}  // namespace pare
