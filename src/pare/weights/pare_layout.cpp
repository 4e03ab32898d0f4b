#include "pare/weights/pare_layout.h"

#include <nlohmann/json.hpp>

#include "pare/base/checked.h"
#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/weights/aqlm_layout.h"
#include "pare/weights/bitpack.h"
#include "pare/weights/grouped_ints.h"

namespace pare {
namespace {

using nlohmann::json;
using Kind = WeightForm::Kind;

constexpr const char* kVersionKey = "pare_format";
constexpr const char* kVersion = "1";
constexpr const char* kWeightsKey = "weights";
constexpr std::pair<Kind, const char*> kBases[] = {{Kind::dense, "dense"},
                                                   {Kind::grouped_ints, "grouped_ints"},
                                                   {Kind::gguf_blocks, "gguf_blocks"},
                                                   {Kind::additive_codes, "additive_codes"}};

json json_of(const WeightForm& form) {
  json result{{"shape", form.shape}};
  for (const auto& [kind, word] : kBases) {
    if (kind == form.kind) result["base"] = word;
  }
  switch (form.kind) {
    case Kind::dense:
      result["dtype"] = std::string(name_of(form.dtype));
      break;
    case Kind::grouped_ints:
      result.update({{"bits", form.bits},
                     {"ternary", form.ternary},
                     {"group", form.group},
                     {"symmetric", form.symmetric},
                     {"permuted", form.permuted},
                     {"scale_dtype", std::string(name_of(form.scale_dtype))}});
      break;
    case Kind::gguf_blocks:
      result["type"] = std::string(form.gguf_type->name);
      break;
    case Kind::additive_codes:
      result.update({{"bits", form.bits},
                     {"books", form.books},
                     {"out_group", form.out_group},
                     {"in_group", form.group},
                     {"dtype", std::string(name_of(form.dtype))},
                     {"scale_dtype", std::string(name_of(form.scale_dtype))}});
      break;
  }
  if (form.masked) result["mask"] = {{"n", form.n}, {"m", form.m}, {"kept", form.kept}};
  return result;
}

// One FORM. Everything that sizes are computed from is bounded here, so that no later product wraps.
class FormReader {
 public:
  FormReader(const json& fields, std::string where) : fields_(fields), where_(std::move(where)) {}

  WeightForm read() const {
    if (!fields_.is_object()) fail("expected a JSON object");
    WeightForm form;
    form.kind = kind();
    form.shape = shape();
    form.kept = form.elements();
    const bool packed = form.kind != Kind::dense || fields_.contains("mask");
    if (packed && (form.shape.size() != 2 || form.elements() == 0)) {
      fail("\"shape\": packed and masked weights are matrices, and not empty");
    }
    if (form.kind == Kind::dense) form.dtype = dtype("dtype");
    if (form.kind == Kind::gguf_blocks) read_blocks(form);
    if (form.kind == Kind::grouped_ints) read_ints(form);
    if (form.kind == Kind::additive_codes) read_additive(form);
    if (fields_.contains("mask")) read_mask(form);
    return form;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw InputError(where_ + ": " + what + ". Download the file again");
  }

  const json& field(const json& object, const char* key) const {
    if (!object.is_object() || !object.contains(key)) fail(std::string("\"") + key + "\" is missing");
    return object.at(key);
  }
  int64_t count(const json& object, const char* key, int64_t least, int64_t most) const {
    const json& value = field(object, key);
    if (!value.is_number_integer() || value < least || value > most) {
      fail(std::string("\"") + key + "\" is no integer from " + std::to_string(least) + " to " + std::to_string(most));
    }
    return value.get<int64_t>();
  }
  bool flag(const char* key) const {
    const json& value = field(fields_, key);
    if (!value.is_boolean()) fail(std::string("\"") + key + "\" is neither true nor false");
    return value.get<bool>();
  }
  std::string text(const char* key) const {
    const json& value = field(fields_, key);
    if (!value.is_string()) fail(std::string("\"") + key + "\" is no string");
    return value.get<std::string>();
  }
  Dtype dtype(const char* key) const {
    const auto found = dtype_from_name(text(key));
    if (!found) fail(std::string("\"") + key + "\" is \"" + text(key) + "\", which is no type");
    return *found;
  }
  Dtype stored_float(const char* key) const {
    const Dtype found = dtype(key);
    if (found != Dtype::f16 && found != Dtype::bf16 && found != Dtype::f32) {
      fail(std::string("\"") + key + "\" is " + std::string(name_of(found)) + ", expected F16, BF16 or F32");
    }
    return found;
  }

  Kind kind() const {
    const std::string word = text("base");
    for (const auto& [kind, name] : kBases) {
      if (word == name) return kind;
    }
    throw UnsupportedError(where_ + ": base \"" + word + "\" is not known. A later Pare may read it");
  }

  std::vector<int64_t> shape() const {
    constexpr int64_t kMost = int64_t{1} << 48;
    const json& value = field(fields_, "shape");
    if (!value.is_array() || value.size() > 8) fail("\"shape\" is no list of at most 8 dimensions");
    std::vector<int64_t> dims;
    for (const json& dim : value) {
      if (!dim.is_number_integer() || dim < 0 || dim > kMost) fail("\"shape\" holds what is no dimension");
      dims.push_back(dim.get<int64_t>());
    }
    const auto elements = checked_product<int64_t>(dims);
    if (!elements || *elements > kMost) fail("\"shape\" is of too many values");
    return dims;
  }

  void read_blocks(WeightForm& form) const {
    form.gguf_type = ggml_type_named(text("type"));
    if (form.gguf_type == nullptr) {
      throw UnsupportedError(where_ + ": block type \"" + text("type") + "\" is not known. A later Pare may read it");
    }
    if (form.shape[1] % form.gguf_type->block_elements != 0) fail("its rows are not whole blocks");
  }

  void read_ints(WeightForm& form) const {
    form.bits = static_cast<int>(count(fields_, "bits", 2, 8));
    form.ternary = flag("ternary");
    form.symmetric = flag("symmetric");
    form.permuted = flag("permuted");
    form.group = count(fields_, "group", 1, form.shape[1]);
    form.scale_dtype = stored_float("scale_dtype");
  }

  void read_additive(WeightForm& form) const {
    form.bits = static_cast<int>(count(fields_, "bits", 1, 16));
    form.books = count(fields_, "books", 1, kMostBooks);
    form.out_group = count(fields_, "out_group", 1, kMostInGroup);
    form.group = count(fields_, "in_group", 1, kMostInGroup / form.out_group);
    form.dtype = stored_float("dtype");
    form.scale_dtype = stored_float("scale_dtype");
    if (form.shape[0] % form.out_group != 0 || form.shape[1] % form.group != 0) fail("its shape is not whole groups");
  }

  void read_mask(WeightForm& form) const {
    const json& mask = fields_.at("mask");
    form.masked = true;
    form.n = static_cast<int>(count(mask, "n", 0, 64));
    form.m = static_cast<int>(count(mask, "m", form.n, 64));
    form.kept = count(mask, "kept", 0, form.elements());
  }

  const json& fields_;
  std::string where_;
};

template <class T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

template <class T>
std::vector<T> items_of(const StoredView& view) {
  std::vector<T> items(view.data.size() / sizeof(T));
  if (!items.empty()) std::memcpy(items.data(), view.data.data(), items.size() * sizeof(T));
  return items;
}

// Calls kept(flat index) for every bit that is set, row by row.
template <class Kept>
void for_each_kept(const std::vector<uint8_t>& bits, int64_t rows, int64_t cols, const Kept& kept) {
  const int64_t row_bytes = packed_bytes(cols, 1);
  for (int64_t r = 0; r < rows; ++r) {
    const uint8_t* row = bits.data() + r * row_bytes;
    for (int64_t c = 0; c < cols; ++c) {
      if (((row[c / 8] >> (c % 8)) & 1) != 0) kept(r * cols + c);
    }
  }
}

std::vector<std::byte> kept_values(const Weight& weight) {
  const auto& dense = std::get<Dense>(weight.base);
  const auto width = size_of(dense.dtype);
  std::vector<std::byte> values;
  for_each_kept(weight.mask->bits, weight.rows(), weight.cols(), [&](int64_t i) {
    const std::byte* value = dense.data.span().data() + i * width;
    values.insert(values.end(), value, value + width);
  });
  return values;
}

Dense scattered(const WeightForm& form, const StoredView& values, const Mask& mask) {
  const auto width = size_of(form.dtype);
  std::vector<std::byte> out(as_size(form.elements() * width));
  int64_t used = 0;
  for_each_kept(mask.bits, form.shape[0], form.shape[1], [&](int64_t i) {
    if (used++ < form.kept)
      std::memcpy(out.data() + i * width, values.data.data() + (used - 1) * width, as_size(width));
  });
  return {form.dtype, Bytes(std::move(out))};
}

// Of kept weights, one stream for all.
std::vector<uint8_t> kept_codes(const Weight& weight, const GroupedInts& ints) {
  const int64_t cols = weight.cols(), row_bytes = packed_bytes(cols, ints.bits);
  std::vector<uint8_t> row(as_size(cols)), kept;
  int64_t current = -1;
  for_each_kept(weight.mask->bits, weight.rows(), cols, [&](int64_t i) {
    if (i / cols != current) {
      current = i / cols;
      unpack_bits(std::span(ints.codes).subspan(as_size(current * row_bytes), as_size(row_bytes)), ints.bits, row);
    }
    kept.push_back(row[as_size(i % cols)]);
  });
  std::vector<uint8_t> packed(as_size(packed_bytes(static_cast<int64_t>(kept.size()), ints.bits)));
  pack_bits(kept, ints.bits, packed);
  return packed;
}

// Back into rows; removed weights get the code of zero, as every format without a mask has them.
void spread_codes(const WeightForm& form, const Mask& mask, std::span<const uint8_t> packed, GroupedInts& ints) {
  const int64_t rows = form.shape[0], cols = form.shape[1], row_bytes = packed_bytes(cols, form.bits);
  const int64_t groups = groups_in(cols, form.group);
  std::vector<uint8_t> kept(as_size(form.kept)), codes(as_size(rows * cols));
  unpack_bits(packed, form.bits, kept);
  const int middle = form.ternary ? 1 : 1 << (form.bits - 1);
  for (int64_t i = 0; i < rows * cols; ++i) {
    const int64_t column = i % cols;
    const int64_t group = form.permuted ? ints.group_index[as_size(column)] : column / form.group;
    const bool known = group >= 0 && group < groups;  // else check_weight says so
    codes[as_size(i)] =
        form.symmetric || !known ? static_cast<uint8_t>(middle) : ints.zeros[as_size(i / cols * groups + group)];
  }
  size_t used = 0;
  for_each_kept(mask.bits, rows, cols, [&](int64_t i) {
    if (used < kept.size()) codes[as_size(i)] = kept[used++];
  });
  ints.codes.resize(as_size(rows * row_bytes));
  for (int64_t r = 0; r < rows; ++r) {
    pack_bits(std::span(codes).subspan(as_size(r * cols), as_size(cols)), form.bits,
              std::span(ints.codes).subspan(as_size(r * row_bytes), as_size(row_bytes)));
  }
}

void pack_ints(const Weight& weight, const std::string& name, std::vector<StoredTensor>& tensors) {
  const auto& ints = std::get<GroupedInts>(weight.base);
  const int64_t rows = weight.rows(), groups = groups_in(weight.cols(), ints.group);
  std::vector<std::byte> scales(ints.scales.size() * as_size(size_of(ints.scale_dtype)));
  from_float(ints.scale_dtype, ints.scales.data(), rows * groups, scales.data());
  tensors.push_back({name + ".codes", bytes_of(weight.mask ? kept_codes(weight, ints) : ints.codes)});
  tensors.push_back({name + ".scales", std::move(scales)});
  if (!ints.symmetric) {
    std::vector<uint8_t> zeros(as_size(packed_bytes(rows * groups, ints.bits)));
    pack_bits(ints.zeros, ints.bits, zeros);
    tensors.push_back({name + ".zeros", bytes_of(zeros)});
  }
  if (!ints.group_index.empty()) tensors.push_back({name + ".group_index", bytes_of(ints.group_index)});
}

GroupedInts unpack_ints(const WeightForm& form, const std::optional<Mask>& mask,
                        const std::function<StoredView(const char*)>& part) {
  GroupedInts ints{.bits = form.bits,
                   .group = form.group,
                   .symmetric = form.symmetric,
                   .scale_dtype = form.scale_dtype,
                   .ternary = form.ternary};
  const int64_t scales = form.shape[0] * groups_in(form.shape[1], form.group);
  ints.scales.resize(as_size(scales));
  to_float(form.scale_dtype, part(".scales").data.data(), scales, ints.scales.data());
  if (!form.symmetric) {
    ints.zeros.resize(ints.scales.size());
    unpack_bits(items_of<uint8_t>(part(".zeros")), form.bits, ints.zeros);
  }
  if (form.permuted) ints.group_index = items_of<int32_t>(part(".group_index"));
  ints.codes = items_of<uint8_t>(part(".codes"));
  if (mask) spread_codes(form, *mask, std::vector<uint8_t>(std::move(ints.codes)), ints);
  return ints;
}

}  // namespace

std::map<std::string, std::string> pare_metadata(const std::map<std::string, WeightForm>& forms) {
  json weights = json::object();
  for (const auto& [name, form] : forms) weights[name] = json_of(form);
  return {{kVersionKey, kVersion}, {kWeightsKey, weights.dump()}};
}

std::optional<std::map<std::string, WeightForm>> pare_forms(const std::map<std::string, std::string>& metadata,
                                                            const std::string& where) {
  const auto version = metadata.find(kVersionKey);
  if (version == metadata.end()) return std::nullopt;
  if (version->second != kVersion) {
    throw UnsupportedError(where + ": " + kVersionKey + " " + version->second + ", this Pare reads " + kVersion);
  }
  const auto weights = metadata.find(kWeightsKey);
  if (weights == metadata.end()) throw InputError(where + ": __metadata__ has no \"weights\". Download it again");
  const json parsed = parse_json(weights->second, where + ": weights");
  if (!parsed.is_object()) throw InputError(where + ": weights: expected a JSON object. Download it again");
  std::map<std::string, WeightForm> forms;
  for (const auto& [name, fields] : parsed.items()) {
    forms.emplace(name, FormReader(fields, where + ": " + name).read());
  }
  return forms;
}

std::vector<TensorSpec> pare_tensors(const WeightForm& form, const std::string& name) {
  if (form.kind == Kind::dense && !form.masked) return {{name, form.dtype, form.shape}};
  std::vector<TensorSpec> tensors;
  const int64_t rows = form.shape[0], cols = form.shape[1];
  switch (form.kind) {
    case Kind::dense:
      tensors.push_back({name + ".values", form.dtype, {form.kept}});
      break;
    case Kind::grouped_ints: {
      const int64_t groups = groups_in(cols, form.group);
      const int64_t row_bytes = packed_bytes(cols, form.bits), kept_bytes = packed_bytes(form.kept, form.bits);
      tensors.push_back({name + ".codes", Dtype::u8, {rows, row_bytes}});
      if (form.masked) tensors.back().shape = {kept_bytes};
      tensors.push_back({name + ".scales", form.scale_dtype, {rows, groups}});
      if (!form.symmetric) tensors.push_back({name + ".zeros", Dtype::u8, {packed_bytes(rows * groups, form.bits)}});
      if (form.permuted) tensors.push_back({name + ".group_index", Dtype::i32, {cols}});
      break;
    }
    case Kind::gguf_blocks: {
      const GgmlType& type = *form.gguf_type;
      tensors.push_back({name + ".blocks", Dtype::u8, {rows, cols / type.block_elements * type.block_bytes}});
      break;
    }
    case Kind::additive_codes: {
      WeightForm unmasked = form;
      unmasked.masked = false;
      tensors = aqlm_tensors(unmasked, name);
      break;
    }
  }
  if (form.masked) tensors.push_back({name + ".mask", Dtype::u8, {rows, packed_bytes(cols, 1)}});
  return tensors;
}

std::vector<StoredTensor> pack_pare(const Weight& weight, const std::string& name) {
  std::vector<StoredTensor> tensors;
  const auto add = [&](const char* part, std::span<const std::byte> bytes) {
    tensors.push_back({name + part, {bytes.begin(), bytes.end()}});
  };
  if (const auto* dense = std::get_if<Dense>(&weight.base)) {
    if (!weight.mask) {
      add("", dense->data.span());
    } else {
      tensors.push_back({name + ".values", kept_values(weight)});
    }
  } else if (const auto* blocks = std::get_if<GgufBlocks>(&weight.base)) {
    add(".blocks", blocks->data.span());
  } else if (std::holds_alternative<AdditiveCodes>(weight.base)) {
    tensors = pack_aqlm(weight, name);
  } else {
    pack_ints(weight, name, tensors);
  }
  if (weight.mask) add(".mask", std::as_bytes(std::span(weight.mask->bits)));
  return tensors;
}

Weight unpack_pare(const WeightForm& form, const std::string& name,
                   const std::function<StoredView(const std::string&)>& view) {
  for (const TensorSpec& tensor : pare_tensors(form, name)) {
    expect_stored(view(tensor.name), {tensor.dtype}, tensor.shape);
  }
  const auto part = [&](const char* suffix) { return view(name + suffix); };
  Weight weight{form.shape, {}, {}};
  if (form.masked) weight.mask = Mask{items_of<uint8_t>(part(".mask")), form.n, form.m};
  switch (form.kind) {
    case Kind::dense:
      weight.base = weight.mask ? scattered(form, part(".values"), *weight.mask)
                                : Dense{form.dtype, Bytes(items_of<std::byte>(part("")))};
      break;
    case Kind::grouped_ints:
      weight.base = unpack_ints(form, weight.mask, part);
      break;
    case Kind::gguf_blocks:
      weight.base = GgufBlocks{form.gguf_type, Bytes(items_of<std::byte>(part(".blocks")))};
      break;
    case Kind::additive_codes:
      weight.base = unpack_aqlm({part(".codes"), part(".codebooks"), part(".scales")}, {}).base;
      break;
  }
  check_weight(weight, name);
  if (form_of(weight).kept != form.kept) {
    throw InputError(name + ": its mask keeps " + std::to_string(form_of(weight).kept) + " values, \"kept\" says " +
                     std::to_string(form.kept) + ". Download the file again");
  }
  return weight;
}

}  // namespace pare
