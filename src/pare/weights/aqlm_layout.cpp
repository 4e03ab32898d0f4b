#include "pare/weights/aqlm_layout.h"

#include <bit>
#include <charconv>
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
  if (s.books < 1 || s.books > kMostBooks || s.entries < 2 || s.entries > 65536 ||
      !std::has_single_bit(static_cast<uint64_t>(s.entries)) || s.out_group < 1 || s.in_group < 1 ||
      s.out_group > kMostInGroup || s.in_group > kMostInGroup / s.out_group) {
    throw InputError(parts.codebooks.name + ": shape " + shape_text(book) +
                     ", expected [books, 2^bits, out group, in group] of at most 256 books, 16 bits and groups of 256");
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

std::optional<AqlmScheme> aqlm_scheme_named(std::string_view text) {
  constexpr int64_t kUsualGroup = 8;
  const auto number = [&](char before) -> int64_t {  // the digits at the front, after `before`; -1: there are none
    if (before != 0 && (text.empty() || text[0] != before)) return -1;
    if (before != 0) text.remove_prefix(1);
    int64_t value = -1;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (fault != std::errc() || value < 1) return -1;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    return value;
  };
  const int64_t books = number(0), bits = number('x'), group = text.empty() ? kUsualGroup : number('g');
  if (books < 1 || books > kMostBooks || bits < 1 || bits > 16 || group < 1 || group > kMostInGroup || !text.empty()) {
    return std::nullopt;
  }
  return AqlmScheme{static_cast<int>(bits), books, 1, group};
}

WeightForm aqlm_form(const AqlmParts& parts, const AqlmScheme& scheme) {
  const AqlmSizes s = sizes_of(parts, scheme);
  WeightForm form;
  form.kind = WeightForm::Kind::additive_codes;
  form.shape = {s.rows * s.out_group, s.columns * s.in_group};
  form.bits = std::countr_zero(static_cast<uint64_t>(s.entries));
  form.books = s.books;
  form.out_group = s.out_group;
  form.group = s.in_group;
  form.dtype = parts.codebooks.dtype;
  form.scale_dtype = parts.scales.dtype;
  form.kept = form.elements();
  return form;
}

Weight unpack_aqlm(const AqlmParts& parts, const AqlmScheme& scheme) {
  const AqlmSizes s = sizes_of(parts, scheme);
  AdditiveCodes codes{.bits = std::countr_zero(static_cast<uint64_t>(s.entries)),
                      .books = s.books,
                      .out_group = s.out_group,
                      .in_group = s.in_group,
                      .book_dtype = parts.codebooks.dtype,
                      .scale_dtype = parts.scales.dtype};
  codes.codebooks = aqlm_floats(parts.codebooks);
  codes.scales = aqlm_floats(parts.scales);
  codes.codes.resize(as_size(s.rows * s.columns * s.books));
  for (size_t i = 0; i < codes.codes.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    const int code = parts.codes.dtype == Dtype::i8 ? parts.codes.item<int8_t>(at) : parts.codes.item<int16_t>(at);
    codes.codes[i] = static_cast<uint16_t>(code & static_cast<int>(s.entries - 1));
  }
  Weight weight{{s.rows * s.out_group, s.columns * s.in_group}, std::move(codes), {}};
  check_weight(weight, parts.codes.name);
  return weight;
}

std::string aqlm_why_not(const WeightForm& form) {
  if (form.kind != WeightForm::Kind::additive_codes) return "aqlm holds sums of codebook entries only";
  return form.masked ? "aqlm has no place for a mask" : "";
}

std::vector<TensorSpec> aqlm_tensors(const WeightForm& form, const std::string& stem) {
  PARE_ASSERT(aqlm_why_not(form).empty());
  const int64_t out = form.shape[0] / form.out_group, in = form.shape[1] / form.group;
  return {{stem + ".codes", form.bits <= 8 ? Dtype::i8 : Dtype::i16, {out, in, form.books}},
          {stem + ".codebooks", form.dtype, {form.books, int64_t{1} << form.bits, form.out_group, form.group}},
          {stem + ".scales", form.scale_dtype, {out, 1, 1, 1}}};
}

std::vector<StoredTensor> pack_aqlm(const Weight& weight, const std::string& stem) {
  const auto& additive = std::get<AdditiveCodes>(weight.base);
  const auto floats = [](const std::vector<float>& values, Dtype dtype) {
    std::vector<std::byte> data(values.size() * as_size(size_of(dtype)));
    from_float(dtype, values.data(), static_cast<int64_t>(values.size()), data.data());
    return data;
  };
  std::vector<std::byte> codes;
  if (additive.bits <= 8) {
    codes.reserve(additive.codes.size());
    for (const uint16_t code : additive.codes) codes.push_back(static_cast<std::byte>(code));
  } else {
    const auto bytes = std::as_bytes(std::span(additive.codes));
    codes.assign(bytes.begin(), bytes.end());
  }
  std::vector<StoredTensor> tensors;
  tensors.push_back({stem + ".codes", std::move(codes)});
  tensors.push_back({stem + ".codebooks", floats(additive.codebooks, additive.book_dtype)});
  tensors.push_back({stem + ".scales", floats(additive.scales, additive.scale_dtype)});
  return tensors;
}

}  // namespace pare
