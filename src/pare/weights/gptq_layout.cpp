#include "pare/weights/gptq_layout.h"

#include <algorithm>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/weights/bitpack.h"
#include "pare/weights/grouped_ints.h"

namespace pare {
namespace {

bool has_layout(int bits) {
  return bits == 2 || bits == 3 || bits == 4 || bits == 8;
}

struct GptqSizes {
  int64_t out, in, groups, group;
  int bits;
};

int64_t group_from_shapes(const GptqParts& parts, const GptqScheme& scheme, int64_t in, int64_t groups) {
  if (groups == 1) return in;
  if (scheme.group > 0 && groups_in(in, scheme.group) == groups) return scheme.group;
  if (in % groups == 0) return in / groups;
  throw InputError(parts.scales.name + ": " + std::to_string(groups) + " groups for " + std::to_string(in) +
                   " inputs, which no group size gives that divides them");
}

// Everything that shapes can tell, checked.
GptqSizes sizes_of(const GptqParts& parts, const GptqScheme& scheme) {
  expect_stored(parts.qweight, {Dtype::i32}, {-1, -1});
  const int64_t words = parts.qweight.shape[0], out = parts.qweight.shape[1];
  expect_stored(parts.scales, {Dtype::f16, Dtype::bf16, Dtype::f32}, {-1, out});
  const int64_t groups = parts.scales.shape[0];
  expect_stored(parts.qzeros, {Dtype::i32}, {groups, -1});
  if (words <= 0 || out <= 0 || groups <= 0) {
    throw InputError(parts.qweight.name + ": shape " + shape_text(parts.qweight.shape) + " with scales " +
                     shape_text(parts.scales.shape) + " holds nothing");
  }
  GptqSizes s{.out = out, .in = 0, .groups = groups, .group = 0, .bits = scheme.bits};
  if (scheme.overridden) {
    if (parts.qzeros.shape[1] * 32 % out != 0 || parts.qzeros.shape[1] * 32 / out > 32) {
      throw InputError(parts.qzeros.name + ": shape " + shape_text(parts.qzeros.shape) +
                       " is no whole number of bits for each of " + std::to_string(out) + " outputs");
    }
    s.bits = static_cast<int>(parts.qzeros.shape[1] * 32 / out);
  }
  if (!has_layout(s.bits)) {
    throw UnsupportedError(parts.qweight.name + ": " + std::to_string(s.bits) +
                           "-bit GPTQ layers are not read; known are 2, 3, 4 and 8 bits");
  }
  if (words * 32 % s.bits != 0) {
    throw InputError(parts.qweight.name + ": " + std::to_string(words) + " words do not hold whole " +
                     std::to_string(s.bits) + "-bit codes");
  }
  s.in = words * 32 / s.bits;
  if (out * s.bits % 32 != 0) {
    throw InputError(parts.qzeros.name + ": " + std::to_string(out) + " zeros of " + std::to_string(s.bits) +
                     " bits are not whole words");
  }
  expect_stored(parts.qzeros, {Dtype::i32}, {groups, out * s.bits / 32});
  s.group = scheme.overridden    ? group_from_shapes(parts, scheme, s.in, groups)
            : scheme.group == -1 ? s.in
                                 : scheme.group;
  if (s.group < 1) {
    throw InputError(parts.scales.name + ": group_size is " + std::to_string(s.group) +
                     " in quantization_config; expected -1 or at least 1");
  }
  if (groups_in(s.in, s.group) != groups) {
    throw InputError(parts.scales.name + ": " + std::to_string(groups) + " groups, expected " +
                     std::to_string(groups_in(s.in, s.group)) + " (" + std::to_string(s.in) + " inputs in groups of " +
                     std::to_string(s.group) + ")");
  }
  if (parts.g_idx) expect_stored(*parts.g_idx, {Dtype::i32}, {s.in});
  if (!parts.g_idx && scheme.act_order) {
    throw InputError(parts.qweight.name + ": desc_act is true and there is no g_idx to say which group an input is of");
  }
  return s;
}

std::vector<int32_t> read_group_index(const GptqParts& parts, const GptqScheme& scheme, const GptqSizes& s) {
  if (!parts.g_idx) return {};
  std::vector<int32_t> index(as_size(s.in));
  for (int64_t k = 0; k < s.in; ++k) {
    index[as_size(k)] = parts.g_idx->item<int32_t>(k);
    if (index[as_size(k)] < 0 || index[as_size(k)] >= s.groups) {
      throw InputError(parts.g_idx->name + ": input " + std::to_string(k) + " is of group " +
                       std::to_string(index[as_size(k)]) + "; there are " + std::to_string(s.groups));
    }
  }
  if (is_plain_order(index, s.group)) return {};
  if (!scheme.act_order && !scheme.overridden) {
    throw InputError(parts.g_idx->name +
                     ": not k / group_size, although desc_act is false; other loaders would ignore it. Set desc_act to "
                     "true in quantization_config if the file is meant so");
  }
  return index;
}

// [groups, out] as stored, each field in 0 .. 2^bits - 1.
std::vector<uint8_t> read_zero_fields(const GptqParts& parts, const GptqSizes& s) {
  std::vector<uint8_t> fields(as_size(s.groups * s.out));
  const auto* bytes = reinterpret_cast<const uint8_t*>(parts.qzeros.data.data());
  const int64_t row_bytes = s.out * s.bits / 8;
  for (int64_t g = 0; g < s.groups; ++g) {
    unpack_bits({bytes + g * row_bytes, as_size(row_bytes)}, s.bits,
                std::span(fields).subspan(as_size(g * s.out), as_size(s.out)));
  }
  return fields;
}

void read_zeros(const GptqParts& parts, const GptqScheme& scheme, const GptqSizes& s, GroupedInts& ints) {
  const std::vector<uint8_t> fields = read_zero_fields(parts, s);
  const auto middle = static_cast<uint8_t>(1 << (s.bits - 1));
  const auto all = [&](int value) {
    return std::all_of(fields.begin(), fields.end(), [&](uint8_t field) { return field == value; });
  };
  if (scheme.symmetric) {
    if (all(middle) || all(middle - 1)) return;
    const auto odd =
        std::find_if(fields.begin(), fields.end(), [&](uint8_t f) { return f != middle && f != middle - 1; });
    throw InputError(parts.qzeros.name + ": symmetric by quantization_config, so every zero should be stored as " +
                     std::to_string(middle - 1) + " (v1) or every one as " + std::to_string(middle) + " (v2); found " +
                     (odd == fields.end() ? "both" : std::to_string(*odd)));
  }
  const int shift = scheme.version == GptqVersion::v1 ? 1 : 0, mask = (1 << s.bits) - 1;
  if (all((middle - shift) & mask)) return;
  ints.symmetric = false;
  ints.zeros.resize(fields.size());
  for (int64_t g = 0; g < s.groups; ++g) {
    for (int64_t n = 0; n < s.out; ++n) {
      ints.zeros[as_size(n * s.groups + g)] = static_cast<uint8_t>((fields[as_size(g * s.out + n)] + shift) & mask);
    }
  }
}

WeightForm form_from(const GptqSizes& s, const GptqParts& parts, bool symmetric) {
  WeightForm form;
  form.shape = {s.out, s.in};
  form.kind = WeightForm::Kind::grouped_ints;
  form.bits = s.bits;
  form.symmetric = symmetric;
  form.group = std::min(s.group, s.in);
  form.scale_dtype = parts.scales.dtype;
  form.kept = form.elements();
  return form;
}

std::vector<std::byte> as_bytes(const void* data, size_t bytes) {
  const auto* first = static_cast<const std::byte*>(data);
  return {first, first + bytes};
}

}  // namespace

WeightForm gptq_form(const GptqParts& parts, const GptqScheme& scheme) {
  return form_from(sizes_of(parts, scheme), parts, scheme.symmetric);
}

Weight unpack_gptq(const GptqParts& parts, const GptqScheme& scheme) {
  const GptqSizes s = sizes_of(parts, scheme);
  GroupedInts ints;
  ints.bits = s.bits;
  ints.group = std::min(s.group, s.in);
  ints.scale_dtype = parts.scales.dtype;
  ints.group_index = read_group_index(parts, scheme, s);
  read_zeros(parts, scheme, s, ints);

  const int64_t words = s.in * s.bits / 32;
  std::vector<uint32_t> stored(as_size(words * s.out)), turned(stored.size());  // a copy: the file may be unaligned
  std::memcpy(stored.data(), parts.qweight.data.data(), parts.qweight.data.size());
  transpose_words(stored.data(), words, s.out, turned.data());
  ints.codes.resize(turned.size() * sizeof(uint32_t));
  std::memcpy(ints.codes.data(), turned.data(), ints.codes.size());

  std::vector<float> scales(as_size(s.groups * s.out));
  to_float(parts.scales.dtype, parts.scales.data.data(), s.groups * s.out, scales.data());
  ints.scales.resize(scales.size());
  for (int64_t g = 0; g < s.groups; ++g) {
    for (int64_t n = 0; n < s.out; ++n) ints.scales[as_size(n * s.groups + g)] = scales[as_size(g * s.out + n)];
  }
  Weight weight{{s.out, s.in}, std::move(ints), {}};
  check_weight(weight, parts.qweight.name);
  return weight;
}

std::string gptq_why_not(const WeightForm& form) {
  if (form.kind != WeightForm::Kind::grouped_ints || form.shape.size() != 2) return "gptq holds integers on grids only";
  if (!has_layout(form.bits)) return "gptq has no " + std::to_string(form.bits) + "-bit form (2, 3, 4 and 8)";
  if (form.scale_dtype != Dtype::f16) {
    return "gptq stores scales as F16, these are " + std::string(name_of(form.scale_dtype));
  }
  for (int64_t features : form.shape) {
    if (features * form.bits % 32 != 0) {
      return std::to_string(features) + " features of " + std::to_string(form.bits) +
             " bits are not whole 32-bit words";
    }
  }
  return {};
}

std::vector<TensorSpec> gptq_tensors(const WeightForm& form, const std::string& module) {
  PARE_ASSERT(gptq_why_not(form).empty());
  const int64_t out = form.shape[0], in = form.shape[1], groups = groups_in(in, form.group);
  return {{module + ".qweight", Dtype::i32, {in * form.bits / 32, out}},
          {module + ".qzeros", Dtype::i32, {groups, out * form.bits / 32}},
          {module + ".scales", Dtype::f16, {groups, out}},
          {module + ".g_idx", Dtype::i32, {in}}};
}

std::vector<StoredTensor> pack_gptq(const Weight& weight, const std::string& module, GptqVersion version) {
  PARE_ASSERT(gptq_why_not(form_of(weight)).empty());
  const GroupedInts ints = plain_ints(weight);
  const int64_t out = weight.rows(), in = weight.cols(), groups = groups_in(in, ints.group);

  const int64_t words = in * ints.bits / 32;
  std::vector<uint32_t> rows(as_size(out * words)), qweight(rows.size());
  std::memcpy(rows.data(), ints.codes.data(), ints.codes.size());
  transpose_words(rows.data(), out, words, qweight.data());

  const int mask = (1 << ints.bits) - 1, shift = version == GptqVersion::v1 ? mask : 0;  // z - 1 modulo 2^bits
  std::vector<uint8_t> fields(as_size(out)), qzeros(as_size(groups * out * ints.bits / 8));
  std::vector<float> group_scales(as_size(out));
  std::vector<std::byte> scales(as_size(groups * out * 2));
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t n = 0; n < out; ++n) {
      const int zero = ints.zeros.empty() ? 1 << (ints.bits - 1) : ints.zeros[as_size(n * groups + g)];
      fields[as_size(n)] = static_cast<uint8_t>((zero + shift) & mask);
      group_scales[as_size(n)] = ints.scales[as_size(n * groups + g)];
    }
    const int64_t row_bytes = out * ints.bits / 8;
    pack_bits(fields, ints.bits, std::span(qzeros).subspan(as_size(g * row_bytes), as_size(row_bytes)));
    from_float(Dtype::f16, group_scales.data(), out, scales.data() + g * out * 2);
  }

  std::vector<int32_t> g_idx = ints.group_index;
  if (g_idx.empty()) {
    g_idx.resize(as_size(in));
    for (int64_t k = 0; k < in; ++k) g_idx[as_size(k)] = static_cast<int32_t>(k / ints.group);
  }
  std::vector<StoredTensor> tensors;
  tensors.push_back({module + ".qweight", as_bytes(qweight.data(), qweight.size() * sizeof(uint32_t))});
  tensors.push_back({module + ".qzeros", as_bytes(qzeros.data(), qzeros.size())});
  tensors.push_back({module + ".scales", std::move(scales)});
  tensors.push_back({module + ".g_idx", as_bytes(g_idx.data(), g_idx.size() * sizeof(int32_t))});
  return tensors;
}

}  // namespace pare
