#include "pare/weights/awq_layout.h"

#include <algorithm>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/weights/grouped_ints.h"

namespace pare {
namespace {

constexpr int kAwqOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};

struct AwqSizes {
  int64_t out, in, groups, group;
};

AwqSizes sizes_of(const AwqParts& parts, const AwqScheme& scheme) {
  if (scheme.bits != 4) {
    throw UnsupportedError(parts.qweight.name + ": AWQ of " + std::to_string(scheme.bits) + " bits; 4 are read");
  }
  expect_stored(parts.qweight, {Dtype::i32}, {-1, -1});
  AwqSizes s{.out = 0, .in = parts.qweight.shape[0], .groups = 0, .group = 0};
  const int64_t words = parts.qweight.shape[1];
  if (s.in < 1 || words < 1) {
    throw InputError(parts.qweight.name + ": shape " + shape_text(parts.qweight.shape) + " holds nothing");
  }
  s.out = 8 * words;
  if (s.in % 2 != 0) {
    throw InputError(parts.qweight.name + ": " + std::to_string(s.in) + " inputs of 4 bits are not whole bytes");
  }
  if (scheme.group != -1 && scheme.group < 1) {
    throw InputError(parts.scales.name + ": group_size is " + std::to_string(scheme.group) +
                     " in quantization_config; expected -1 or at least 1");
  }
  s.group = scheme.group == -1 ? s.in : std::min(scheme.group, s.in);
  s.groups = groups_in(s.in, s.group);
  expect_stored(parts.scales, {Dtype::f16, Dtype::bf16, Dtype::f32}, {s.groups, s.out});
  expect_stored(parts.qzeros, {Dtype::i32}, {s.groups, words});
  return s;
}

// One row of words as codes, in the order of the columns.
void unpack_awq_row(const StoredView& view, int64_t row, int64_t words, uint8_t* codes) {
  for (int64_t j = 0; j < words; ++j) {
    const auto word = view.item<uint32_t>(row * words + j);
    for (int i = 0; i < 8; ++i) codes[8 * j + kAwqOrder[i]] = static_cast<uint8_t>((word >> (4 * i)) & 15);
  }
}

}  // namespace

WeightForm awq_form(const AwqParts& parts, const AwqScheme& scheme) {
  const AwqSizes s = sizes_of(parts, scheme);
  WeightForm form;
  form.shape = {s.out, s.in};
  form.kind = WeightForm::Kind::grouped_ints;
  form.bits = 4;
  form.symmetric = false;
  form.group = s.group;
  form.scale_dtype = parts.scales.dtype;
  form.kept = form.elements();
  return form;
}

Weight unpack_awq(const AwqParts& parts, const AwqScheme& scheme) {
  const AwqSizes s = sizes_of(parts, scheme);
  GroupedInts ints{.bits = 4, .group = s.group, .symmetric = false, .scale_dtype = parts.scales.dtype};
  const int64_t words = s.out / 8, row_bytes = s.in / 2;
  ints.codes.resize(as_size(s.out * row_bytes));
  std::vector<uint8_t> low(as_size(s.out)), high(as_size(s.out));
  for (int64_t k = 0; k < s.in; k += 2) {  // two inputs share a byte of each of our rows
    unpack_awq_row(parts.qweight, k, words, low.data());
    unpack_awq_row(parts.qweight, k + 1, words, high.data());
    for (int64_t n = 0; n < s.out; ++n) {
      ints.codes[as_size(n * row_bytes + k / 2)] = static_cast<uint8_t>(low[as_size(n)] | high[as_size(n)] << 4);
    }
  }
  ints.zeros.resize(as_size(s.out * s.groups));
  ints.scales.resize(as_size(s.out * s.groups));
  std::vector<float> scales(as_size(s.groups * s.out));
  to_float(parts.scales.dtype, parts.scales.data.data(), s.groups * s.out, scales.data());
  for (int64_t g = 0; g < s.groups; ++g) {
    unpack_awq_row(parts.qzeros, g, words, low.data());
    for (int64_t n = 0; n < s.out; ++n) {
      ints.zeros[as_size(n * s.groups + g)] = low[as_size(n)];
      ints.scales[as_size(n * s.groups + g)] = scales[as_size(g * s.out + n)];
    }
  }
  Weight weight{{s.out, s.in}, std::move(ints), {}};
  check_weight(weight, parts.qweight.name);
  return weight;
}

}  // namespace pare
