#include "pare/weights/fp8_layout.h"

#include <cmath>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/weights/grouped_ints.h"

namespace pare {
namespace {

struct Fp8Sizes {
  int64_t out, in;
  Fp8Block block;
};

Fp8Sizes sizes_of(const Fp8Parts& parts, const std::vector<Fp8Block>& blocks) {
  expect_stored(parts.weight, {Dtype::f8_e4m3}, {-1, -1});
  const int64_t out = parts.weight.shape[0], in = parts.weight.shape[1];
  if (out < 1 || in < 1) {
    throw InputError(parts.weight.name + ": shape " + shape_text(parts.weight.shape) + " holds nothing");
  }
  expect_stored(parts.scale, {Dtype::f16, Dtype::bf16, Dtype::f32}, std::span(parts.scale.shape));
  const std::vector<int64_t>& found = parts.scale.shape;
  using Shape = std::vector<int64_t>;
  if (found.empty() || found == Shape{1} || found == Shape{1, 1}) return {out, in, {out, in}};
  if (found == Shape{out} || found == Shape{out, 1}) return {out, in, {1, in}};
  std::string tried = "[1] or " + shape_text(Shape{out, 1});
  for (const Fp8Block& block : blocks) {
    const Shape expected{groups_in(out, block.rows), groups_in(in, block.cols)};
    if (found == expected) return {out, in, block};
    tried += " or " + shape_text(expected);
  }
  throw InputError(parts.scale.name + ": shape " + shape_text(found) + ", expected " + tried + " for a weight of " +
                   shape_text(parts.weight.shape) + " with the blocks that quantization_config names");
}

}  // namespace

WeightForm fp8_form(const Fp8Parts& parts, const std::vector<Fp8Block>& blocks) {
  const Fp8Sizes s = sizes_of(parts, blocks);
  WeightForm form;
  form.shape = {s.out, s.in};
  form.dtype = Dtype::f32;
  form.kept = form.elements();
  return form;
}

std::string fp8_words(const Fp8Parts& parts, const std::vector<Fp8Block>& blocks) {
  const Fp8Sizes s = sizes_of(parts, blocks);
  if (s.block == Fp8Block{s.out, s.in}) return "FP8, one scale";
  if (s.block == Fp8Block{1, s.in}) return "FP8, a scale a row";
  return "FP8, a scale each " + std::to_string(s.block.rows) + " x " + std::to_string(s.block.cols);
}

Weight unpack_fp8(const Fp8Parts& parts, const std::vector<Fp8Block>& blocks) {
  const Fp8Sizes s = sizes_of(parts, blocks);
  const int64_t across = groups_in(s.in, s.block.cols), down = groups_in(s.out, s.block.rows);
  std::vector<float> scales(as_size(down * across));
  to_float(parts.scale.dtype, parts.scale.data.data(), down * across, scales.data());
  for (size_t i = 0; i < scales.size(); ++i) {
    if (!std::isfinite(scales[i])) {
      throw InputError(parts.scale.name + ": scale " + std::to_string(i) + " is not finite. Download the file again");
    }
  }
  std::vector<float> values(as_size(s.out * s.in));
  to_float(Dtype::f8_e4m3, parts.weight.data.data(), s.out * s.in, values.data());
  for (int64_t r = 0; r < s.out; ++r) {
    const float* row_scales = scales.data() + r / s.block.rows * across;
    float* row = values.data() + r * s.in;
    for (int64_t c = 0; c < s.in; ++c) row[c] *= row_scales[c / s.block.cols];
  }
  return dense_weight({s.out, s.in}, Dtype::f32, values);
}

}  // namespace pare
