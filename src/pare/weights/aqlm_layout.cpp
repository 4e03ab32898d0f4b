#include "pare/weights/aqlm_layout.h"

#include <bit>
#include <cmath>

#include "pare/base/checked.h"
#include "pare/base/error.h"

namespace pare {
namespace {

struct AqlmSizes {
  int64_t rows, columns;  // of groups
  int64_t books, entries, out_group, in_group;
};

void agree_with_config(int64_t found, int64_t said, const char* key, const AqlmParts& parts) {
  if (said != 0 && found != said) {
    throw InputError(parts.codebooks.name + ": shape " + shape_text(parts.codebooks.shape) +
                     " disagrees with quantization_config, where " + key + " is " + std::to_string(said));
  }
}

AqlmSizes sizes_of(const AqlmParts& parts, const AqlmScheme& scheme) {
  expect_stored(parts.codebooks, {Dtype::f16, Dtype::bf16, Dtype::f32}, {-1, -1, -1, -1});
  const std::vector<int64_t>& book = parts.codebooks.shape;
  AqlmSizes s{.rows = 0, .columns = 0, .books = book[0], .entries = book[1], .out_group = book[2], .in_group = book[3]};
  // a group larger than any scheme's would let a small file ask for a lot of memory
  constexpr int64_t kMostInGroup = 256;
  if (s.books < 1 || s.entries < 2 || s.entries > 65536 || !std::has_single_bit(static_cast<uint64_t>(s.entries)) ||
      s.out_group < 1 || s.in_group < 1 || s.out_group > kMostInGroup || s.in_group > kMostInGroup / s.out_group) {
    throw InputError(parts.codebooks.name + ": shape " + shape_text(book) +
                     ", expected [books, 2^bits, out group, in group] with at most 16 bits and groups of 256");
  }
  agree_with_config(s.books, scheme.books, "num_codebooks", parts);
  agree_with_config(s.entries, scheme.bits == 0 ? 0 : int64_t{1} << scheme.bits, "2^nbits_per_codebook", parts);
  agree_with_config(s.out_group, scheme.out_group, "out_group_size", parts);
  agree_with_config(s.in_group, scheme.in_group, "in_group_size", parts);
  expect_stored(parts.codes, {Dtype::i8, Dtype::i16}, {-1, -1, s.books});
  s.rows = parts.codes.shape[0];
  s.columns = parts.codes.shape[1];
  if (s.rows < 1 || s.columns < 1) {
    throw InputError(parts.codes.name + ": shape " + shape_text(parts.codes.shape) + " holds nothing");
  }
  if (parts.codes.dtype == Dtype::i8 && s.entries > 256) {
    throw InputError(parts.codes.name + ": codes of 8 bits, and " + std::to_string(s.entries) +
                     " entries to choose from");
  }
  expect_stored(parts.scales, {Dtype::f16, Dtype::bf16, Dtype::f32}, {s.rows, 1, 1, 1});
  return s;
}

std::vector<float> aqlm_floats(const StoredView& view) {
  std::vector<float> values(view.data.size() / as_size(size_of(view.dtype)));
  to_float(view.dtype, view.data.data(), static_cast<int64_t>(values.size()), values.data());
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw InputError(view.name + ": value " + std::to_string(i) + " is not finite. Download the file again");
    }
  }
  return values;
}

}  // namespace

WeightForm aqlm_form(const AqlmParts& parts, const AqlmScheme& scheme) {
  const AqlmSizes s = sizes_of(parts, scheme);
  WeightForm form;
  form.shape = {s.rows * s.out_group, s.columns * s.in_group};
  form.dtype = Dtype::f32;
  form.kept = form.elements();
  return form;
}

std::string aqlm_words(const AqlmParts& parts, const AqlmScheme& scheme) {
  const AqlmSizes s = sizes_of(parts, scheme);
  return "AQLM, " + std::to_string(s.books) + " x " +
         std::to_string(std::countr_zero(static_cast<uint64_t>(s.entries))) + " bits for " +
         std::to_string(s.out_group) + " x " + std::to_string(s.in_group);
}

Weight unpack_aqlm(const AqlmParts& parts, const AqlmScheme& scheme) {
  const AqlmSizes s = sizes_of(parts, scheme);
  const std::vector<float> books = aqlm_floats(parts.codebooks), scales = aqlm_floats(parts.scales);
  const int64_t out = s.rows * s.out_group, in = s.columns * s.in_group, entry = s.out_group * s.in_group;
  std::vector<float> values(as_size(out * in));
  for (int64_t r = 0; r < s.rows; ++r) {
    for (int64_t j = 0; j < s.columns; ++j) {
      float* group = values.data() + r * s.out_group * in + j * s.in_group;
      for (int64_t c = 0; c < s.books; ++c) {
        const int64_t at = (r * s.columns + j) * s.books + c;
        const int code = parts.codes.dtype == Dtype::i8 ? parts.codes.item<int8_t>(at) : parts.codes.item<int16_t>(at);
        const int64_t index = code & static_cast<int>(s.entries - 1);
        const float* src = books.data() + (c * s.entries + index) * entry;
        for (int64_t e = 0; e < entry; ++e) group[e / s.in_group * in + e % s.in_group] += src[e];
      }
      for (int64_t e = 0; e < entry; ++e) group[e / s.in_group * in + e % s.in_group] *= scales[as_size(r)];
    }
  }
  return dense_weight({out, in}, Dtype::f32, values);
}

}  // namespace pare
