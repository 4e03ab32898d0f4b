#include "pare/weights/compressed_tensors_layout.h"

#include <algorithm>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/weights/bitpack.h"
#include "pare/weights/grouped_ints.h"

namespace pare {
namespace {

int64_t words_for(int64_t count, int bits, WordFilling filling) {
  if (filling == WordFilling::stream) return count / 32 * bits + (count % 32 * bits + 31) / 32;
  const int64_t per_word = 32 / bits;
  return (count + per_word - 1) / per_word;
}

void pack_words(std::span<const uint8_t> codes, int bits, WordFilling filling, std::span<uint32_t> words) {
  std::fill(words.begin(), words.end(), 0u);
  if (filling == WordFilling::stream) {
    const auto bytes = as_size(packed_bytes(static_cast<int64_t>(codes.size()), bits));
    pack_bits(codes, bits, {reinterpret_cast<uint8_t*>(words.data()), bytes});
    return;
  }
  const size_t per_word = static_cast<size_t>(32 / bits);
  for (size_t i = 0; i < codes.size(); ++i) {
    words[i / per_word] |= static_cast<uint32_t>(codes[i]) << (bits * static_cast<int>(i % per_word));
  }
}

void unpack_words(std::span<const uint32_t> words, int bits, WordFilling filling, std::span<uint8_t> codes) {
  if (filling == WordFilling::stream) {
    unpack_bits({reinterpret_cast<const uint8_t*>(words.data()), words.size_bytes()}, bits, codes);
    return;
  }
  const size_t per_word = static_cast<size_t>(32 / bits);
  for (size_t i = 0; i < codes.size(); ++i) {
    codes[i] =
        static_cast<uint8_t>((words[i / per_word] >> (bits * static_cast<int>(i % per_word))) & ((1u << bits) - 1));
  }
}

struct PackedSizes {
  int64_t out, in, groups, group;
  WordFilling filling;
  WordFilling zero_filling;
};

PackedSizes sizes_of(const PackParts& parts, const PackScheme& scheme) {
  if (scheme.bits < 2 || scheme.bits > 8) {
    throw UnsupportedError(parts.packed.name + ": num_bits is " + std::to_string(scheme.bits) + "; 2 to 8 are read");
  }
  expect_stored(parts.packed, {Dtype::i32}, {-1, -1});
  expect_stored(parts.shape, {Dtype::i64, Dtype::i32}, {2});
  const auto dim = [&](int64_t i) {
    return parts.shape.dtype == Dtype::i64 ? parts.shape.item<int64_t>(i) : parts.shape.item<int32_t>(i);
  };
  PackedSizes s{.out = dim(0), .in = dim(1), .groups = 0, .group = 0, .filling = {}, .zero_filling = {}};
  constexpr int64_t kLargest = int64_t{1} << 40;  // keeps the products below in 64 bits
  if (s.out < 1 || s.in < 1 || s.out > kLargest || s.in > kLargest || s.out != parts.packed.shape[0]) {
    throw InputError(parts.shape.name + ": says " + std::to_string(s.out) + " x " + std::to_string(s.in) +
                     ", the packed rows are " + std::to_string(parts.packed.shape[0]));
  }
  const int64_t dense = words_for(s.in, scheme.bits, WordFilling::stream);
  const int64_t whole = words_for(s.in, scheme.bits, WordFilling::whole_codes);
  const int64_t found = parts.packed.shape[1];
  if (found != dense && found != whole) {
    throw InputError(parts.packed.name + ": " + std::to_string(found) + " words a row; " + std::to_string(s.in) +
                     " codes of " + std::to_string(scheme.bits) + " bits take " + std::to_string(dense) +
                     (dense == whole ? "" : " (or " + std::to_string(whole) + " as older versions wrote them)"));
  }
  s.filling = found == dense ? WordFilling::stream : WordFilling::whole_codes;

  if (scheme.group != -1 && scheme.group < 1) {
    throw InputError(parts.scale.name + ": group_size is " + std::to_string(scheme.group) +
                     " in quantization_config; expected at least 1");
  }
  s.group = scheme.group == -1 ? s.in : std::min(scheme.group, s.in);
  s.groups = groups_in(s.in, s.group);
  expect_stored(parts.scale, {Dtype::f16, Dtype::bf16, Dtype::f32}, {s.out, s.groups});
  if (scheme.symmetric && parts.zero_point) {
    throw InputError(parts.zero_point->name + ": there, although quantization_config says symmetric");
  }
  if (!scheme.symmetric && !parts.zero_point) {
    throw InputError(parts.packed.name + ": asymmetric by quantization_config, and there is no weight_zero_point");
  }
  if (parts.zero_point && parts.zero_point->dtype != Dtype::i8) {
    const int64_t zero_dense = words_for(s.out, scheme.bits, WordFilling::stream);
    const int64_t zero_whole = words_for(s.out, scheme.bits, WordFilling::whole_codes);
    s.zero_filling = s.filling;
    if (dense == whole && !parts.zero_point->shape.empty() && parts.zero_point->shape[0] != zero_dense) {
      s.zero_filling = WordFilling::whole_codes;
    }
    expect_stored(*parts.zero_point, {Dtype::i32},
                  {s.zero_filling == WordFilling::stream ? zero_dense : zero_whole, s.groups});
  } else if (parts.zero_point) {
    expect_stored(*parts.zero_point, {Dtype::i8}, {s.out, s.groups});
  }
  if (parts.g_idx) expect_stored(*parts.g_idx, {Dtype::i32}, {s.in});
  return s;
}

// [out, groups], shifted to 0 .. 2^bits - 1.
std::vector<uint8_t> read_zeros(const StoredView& zero_point, const PackScheme& scheme, const PackedSizes& s) {
  std::vector<uint8_t> zeros(as_size(s.out * s.groups));
  if (zero_point.dtype == Dtype::i8) {  // as early versions left them, one signed byte each
    const int middle = 1 << (scheme.bits - 1);
    for (size_t i = 0; i < zeros.size(); ++i) {
      const int value = zero_point.item<int8_t>(static_cast<int64_t>(i));
      if (value < -middle || value >= middle) {
        throw InputError(zero_point.name + ": holds " + std::to_string(value) + ", expected " +
                         std::to_string(-middle) + " to " + std::to_string(middle - 1));
      }
      zeros[i] = static_cast<uint8_t>(value + middle);
    }
    return zeros;
  }
  const int64_t words = zero_point.shape[0];
  std::vector<uint32_t> column(as_size(words));
  std::vector<uint8_t> codes(as_size(s.out));
  for (int64_t g = 0; g < s.groups; ++g) {
    for (int64_t w = 0; w < words; ++w) column[as_size(w)] = zero_point.item<uint32_t>(w * s.groups + g);
    unpack_words(column, scheme.bits, s.zero_filling, codes);
    for (int64_t n = 0; n < s.out; ++n) zeros[as_size(n * s.groups + g)] = codes[as_size(n)];
  }
  return zeros;
}

}  // namespace

WeightForm packed_form(const PackParts& parts, const PackScheme& scheme) {
  const PackedSizes s = sizes_of(parts, scheme);
  WeightForm form;
  form.shape = {s.out, s.in};
  form.kind = WeightForm::Kind::grouped_ints;
  form.bits = scheme.bits;
  form.symmetric = scheme.symmetric;
  form.group = s.group;
  form.scale_dtype = parts.scale.dtype;
  form.kept = form.elements();
  return form;
}

Weight unpack_packed(const PackParts& parts, const PackScheme& scheme) {
  const PackedSizes s = sizes_of(parts, scheme);
  GroupedInts ints;
  ints.bits = scheme.bits;
  ints.group = s.group;
  ints.symmetric = scheme.symmetric;
  ints.scale_dtype = parts.scale.dtype;

  const int64_t words = parts.packed.shape[1], row_bytes = packed_bytes(s.in, scheme.bits);
  ints.codes.resize(as_size(s.out * row_bytes));
  std::vector<uint32_t> row(as_size(words));
  std::vector<uint8_t> codes(as_size(s.in));
  for (int64_t r = 0; r < s.out; ++r) {
    const std::byte* src = parts.packed.data.data() + r * words * 4;
    uint8_t* dst = ints.codes.data() + r * row_bytes;
    if (s.filling == WordFilling::stream) {
      std::memcpy(dst, src, as_size(row_bytes));
    } else {
      std::memcpy(row.data(), src, row.size() * 4);
      unpack_words(row, scheme.bits, s.filling, codes);
      pack_bits(codes, scheme.bits, {dst, as_size(row_bytes)});
    }
  }
  ints.scales.resize(as_size(s.out * s.groups));
  to_float(parts.scale.dtype, parts.scale.data.data(), s.out * s.groups, ints.scales.data());
  if (parts.zero_point) ints.zeros = read_zeros(*parts.zero_point, scheme, s);
  if (parts.g_idx) {
    ints.group_index.resize(as_size(s.in));
    std::memcpy(ints.group_index.data(), parts.g_idx->data.data(), parts.g_idx->data.size());
    // the library writes -1 everywhere where there is no order
    const bool none = std::all_of(ints.group_index.begin(), ints.group_index.end(), [](int32_t g) { return g == -1; });
    if (none || is_plain_order(ints.group_index, s.group)) ints.group_index.clear();
  }
  Weight weight{{s.out, s.in}, std::move(ints), {}};
  check_weight(weight, parts.packed.name);
  return weight;
}

std::string packed_why_not(const WeightForm& form) {
  if (form.kind != WeightForm::Kind::grouped_ints || form.shape.size() != 2) {
    return "pack-quantized holds integers on grids only";
  }
  return {};
}

std::vector<TensorSpec> packed_tensors(const WeightForm& form, const std::string& module, WordFilling filling,
                                       bool indexed) {
  PARE_ASSERT(packed_why_not(form).empty());
  const int64_t out = form.shape[0], in = form.shape[1], groups = groups_in(in, form.group);
  std::vector<TensorSpec> tensors{{module + ".weight_packed", Dtype::i32, {out, words_for(in, form.bits, filling)}},
                                  {module + ".weight_scale", form.scale_dtype, {out, groups}},
                                  {module + ".weight_shape", Dtype::i64, {2}}};
  if (!form.symmetric) {
    tensors.push_back({module + ".weight_zero_point", Dtype::i32, {words_for(out, form.bits, filling), groups}});
  }
  if (indexed) tensors.push_back({module + ".weight_g_idx", Dtype::i32, {in}});
  return tensors;
}

std::vector<StoredTensor> pack_packed(const Weight& weight, const std::string& module, WordFilling filling) {
  PARE_ASSERT(packed_why_not(form_of(weight)).empty());
  const GroupedInts ints = plain_ints(weight);
  const int64_t out = weight.rows(), in = weight.cols(), groups = groups_in(in, ints.group);
  const int64_t words = words_for(in, ints.bits, filling), row_bytes = packed_bytes(in, ints.bits);
  const auto bytes_of = [](const auto& items) {
    const auto bytes = std::as_bytes(std::span(items));
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };

  std::vector<uint32_t> packed(as_size(out * words));
  std::vector<uint8_t> codes(as_size(in));
  for (int64_t r = 0; r < out; ++r) {
    unpack_bits(std::span(ints.codes).subspan(as_size(r * row_bytes), as_size(row_bytes)), ints.bits, codes);
    pack_words(codes, ints.bits, filling, std::span(packed).subspan(as_size(r * words), as_size(words)));
  }
  std::vector<std::byte> scales(ints.scales.size() * as_size(size_of(ints.scale_dtype)));
  from_float(ints.scale_dtype, ints.scales.data(), static_cast<int64_t>(ints.scales.size()), scales.data());

  std::vector<StoredTensor> tensors;
  tensors.push_back({module + ".weight_packed", bytes_of(packed)});
  tensors.push_back({module + ".weight_scale", std::move(scales)});
  tensors.push_back({module + ".weight_shape", bytes_of(std::vector<int64_t>{out, in})});
  if (!ints.zeros.empty()) {
    const int64_t zero_words = words_for(out, ints.bits, filling);
    std::vector<uint32_t> zeros(as_size(zero_words * groups)), column(as_size(zero_words));
    std::vector<uint8_t> fields(as_size(out));
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t n = 0; n < out; ++n) fields[as_size(n)] = ints.zeros[as_size(n * groups + g)];
      pack_words(fields, ints.bits, filling, column);
      for (int64_t w = 0; w < zero_words; ++w) zeros[as_size(w * groups + g)] = column[as_size(w)];
    }
    tensors.push_back({module + ".weight_zero_point", bytes_of(zeros)});
  }
  if (!ints.group_index.empty()) tensors.push_back({module + ".weight_g_idx", bytes_of(ints.group_index)});
  return tensors;
}

}  // namespace pare
