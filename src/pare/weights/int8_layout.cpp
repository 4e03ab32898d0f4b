#include "pare/weights/int8_layout.h"

#include <algorithm>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/weights/grouped_ints.h"

namespace pare {
namespace {

struct Int8Sizes {
  int64_t out, in, group;
  bool one_scale;  // for all rows
};

Int8Sizes sizes_of(const Int8Parts& parts, int64_t group) {
  expect_stored(parts.weight, {Dtype::i8}, {-1, -1});
  const int64_t out = parts.weight.shape[0], in = parts.weight.shape[1];
  if (out < 1 || in < 1) {
    throw InputError(parts.weight.name + ": shape " + shape_text(parts.weight.shape) + " holds nothing");
  }
  const std::vector<int64_t>& found = parts.scale.shape;
  expect_stored(parts.scale, {Dtype::f16, Dtype::bf16, Dtype::f32}, std::span(found));
  if (parts.zero_point) expect_stored(*parts.zero_point, {Dtype::i8}, std::span(found));
  using Shape = std::vector<int64_t>;
  if (found.empty() || found == Shape{1} || found == Shape{1, 1}) return {out, in, in, true};
  if (found == Shape{out} || found == Shape{out, 1}) return {out, in, in, false};
  if (found.size() == 2 && found[0] == out && found[1] > 0) {
    if (group > 0 && groups_in(in, group) == found[1]) return {out, in, group, false};
    if (in % found[1] == 0) return {out, in, in / found[1], false};
  }
  throw InputError(parts.scale.name + ": shape " + shape_text(found) + " for a weight of " +
                   shape_text(parts.weight.shape) + ", expected [1], " + shape_text(Shape{out, 1}) +
                   " or whole groups of the inputs");
}

// Older versions of the library wrote zeros for symmetric layers, too.
bool has_zero_points(const Int8Parts& parts) {
  return parts.zero_point && std::any_of(parts.zero_point->data.begin(), parts.zero_point->data.end(),
                                         [](std::byte value) { return value != std::byte{0}; });
}

}  // namespace

WeightForm int8_form(const Int8Parts& parts, int64_t group) {
  const Int8Sizes s = sizes_of(parts, group);
  WeightForm form;
  form.shape = {s.out, s.in};
  form.kind = WeightForm::Kind::grouped_ints;
  form.bits = 8;
  form.symmetric = !has_zero_points(parts);
  form.group = s.group;
  form.scale_dtype = parts.scale.dtype;
  form.kept = form.elements();
  return form;
}

Weight unpack_int8(const Int8Parts& parts, int64_t group) {
  const Int8Sizes s = sizes_of(parts, group);
  GroupedInts ints{.bits = 8, .group = s.group, .symmetric = !has_zero_points(parts), .scale_dtype = parts.scale.dtype};
  const auto shifted = [](std::byte value) { return static_cast<uint8_t>(std::to_integer<uint8_t>(value) ^ 0x80); };
  ints.codes.resize(parts.weight.data.size());
  std::transform(parts.weight.data.begin(), parts.weight.data.end(), ints.codes.begin(), shifted);

  const int64_t stored = s.one_scale ? 1 : s.out * groups_in(s.in, s.group);
  ints.scales.resize(as_size(stored));
  to_float(parts.scale.dtype, parts.scale.data.data(), stored, ints.scales.data());
  if (s.one_scale) ints.scales.resize(as_size(s.out), ints.scales.front());
  if (!ints.symmetric) {
    ints.zeros.resize(as_size(stored));
    std::transform(parts.zero_point->data.begin(), parts.zero_point->data.end(), ints.zeros.begin(), shifted);
    if (s.one_scale) ints.zeros.resize(as_size(s.out), ints.zeros.front());
  }
  Weight weight{{s.out, s.in}, std::move(ints), {}};
  check_weight(weight, parts.weight.name);
  return weight;
}

}  // namespace pare
