#include "pare/weights/weight_store.h"

#include <cstring>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/json.h"
#include "pare/io/safetensors.h"
#include "pare/io/safetensors_writer.h"

namespace pare {
namespace {

using nlohmann::json;

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

// Calls part(suffix, dtype, shape, bytes) for each array of a weight.
template <class Part>
void for_each_part(const Weight& weight, const Part& part) {
  const int64_t rows = weight.rows();
  const auto flat = [&](size_t size) { return std::vector<int64_t>{static_cast<int64_t>(size)}; };
  if (const auto* dense = std::get_if<Dense>(&weight.base)) {
    part("values", dense->dtype, weight.shape, dense->data.span());
  } else if (const auto* ints = std::get_if<GroupedInts>(&weight.base)) {
    const auto by_row = [&](size_t size) { return std::vector<int64_t>{rows, static_cast<int64_t>(size) / rows}; };
    part("codes", Dtype::u8, by_row(ints->codes.size()), bytes_of(ints->codes));
    part("scales", Dtype::f32, by_row(ints->scales.size()), bytes_of(ints->scales));
    if (!ints->zeros.empty()) part("zeros", Dtype::u8, by_row(ints->zeros.size()), bytes_of(ints->zeros));
    if (!ints->group_index.empty()) {
      part("group_index", Dtype::i32, flat(ints->group_index.size()), bytes_of(ints->group_index));
    }
  } else {
    const auto& blocks = std::get<GgufBlocks>(weight.base);
    part("blocks", Dtype::u8, flat(blocks.data.size()), blocks.data.span());
  }
  if (weight.mask) part("mask", Dtype::u8, flat(weight.mask->bits.size()), bytes_of(weight.mask->bits));
}

json form_json(const Weight& weight) {
  json form{{"shape", weight.shape}};
  if (std::holds_alternative<Dense>(weight.base)) {
    form["base"] = "dense";
  } else if (const auto* ints = std::get_if<GroupedInts>(&weight.base)) {
    form.update({{"base", "grouped_ints"},
                 {"bits", ints->bits},
                 {"ternary", ints->ternary},
                 {"group", ints->group},
                 {"symmetric", ints->symmetric},
                 {"scale_dtype", std::string(name_of(ints->scale_dtype))}});
  } else {
    form.update({{"base", "gguf_blocks"}, {"type", std::string(std::get<GgufBlocks>(weight.base).type->name)}});
  }
  if (weight.mask) form["mask"] = {{"n", weight.mask->n}, {"m", weight.mask->m}};
  return form;
}

template <class T>
std::vector<T> copy_part(const SafetensorsFile& file, const std::string& name, Dtype dtype) {
  const TensorInfo* tensor = file.find(name);
  if (tensor == nullptr) throw InputError(file.path().string() + ": no tensor " + name);
  if (tensor->dtype != dtype) throw InputError(file.path().string() + ": " + name + " is " + tensor->dtype_name);
  std::vector<T> values(tensor->bytes() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), file.bytes(*tensor).data(), tensor->bytes());
  return values;
}

Bytes copy_bytes(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* tensor = file.find(name);
  if (tensor == nullptr) throw InputError(file.path().string() + ": no tensor " + name);
  const auto bytes = file.bytes(*tensor);
  return Bytes(std::vector<std::byte>(bytes.begin(), bytes.end()));
}

Weight read_weight(const SafetensorsFile& file, const std::string& name, const json& form) {
  const std::string where = file.path().string() + ": " + name;
  Weight weight;
  try {
    weight.shape = form.at("shape").get<std::vector<int64_t>>();
    const auto base = form.at("base").get<std::string>();
    if (base == "dense") {
      const TensorInfo* values = file.find(name + ".values");
      if (values == nullptr || !values->dtype) throw InputError(where + ": its values are missing");
      weight.base = Dense{*values->dtype, copy_bytes(file, name + ".values")};
    } else if (base == "grouped_ints") {
      GroupedInts ints;
      ints.bits = form.at("bits").get<int>();
      ints.ternary = form.at("ternary").get<bool>();
      ints.group = form.at("group").get<int64_t>();
      ints.symmetric = form.at("symmetric").get<bool>();
      const auto scale_dtype = dtype_from_name(form.at("scale_dtype").get<std::string>());
      if (!scale_dtype) throw InputError(where + ": unknown scale type");
      ints.scale_dtype = *scale_dtype;
      ints.codes = copy_part<uint8_t>(file, name + ".codes", Dtype::u8);
      ints.scales = copy_part<float>(file, name + ".scales", Dtype::f32);
      if (!ints.symmetric) ints.zeros = copy_part<uint8_t>(file, name + ".zeros", Dtype::u8);
      if (file.find(name + ".group_index") != nullptr) {
        ints.group_index = copy_part<int32_t>(file, name + ".group_index", Dtype::i32);
      }
      weight.base = std::move(ints);
    } else if (base == "gguf_blocks") {
      const GgmlType* type = ggml_type_named(form.at("type").get<std::string>());
      if (type == nullptr) throw InputError(where + ": unknown block type");
      weight.base = GgufBlocks{type, copy_bytes(file, name + ".blocks")};
    } else {
      throw InputError(where + ": unknown base \"" + base + "\"");
    }
    if (form.contains("mask")) {
      weight.mask = Mask{copy_part<uint8_t>(file, name + ".mask", Dtype::u8), form.at("mask").at("n").get<int>(),
                         form.at("mask").at("m").get<int>()};
    }
  } catch (const json::exception& error) {
    throw InputError(where + ": its description is damaged: " + error.what());
  }
  check_weight(weight, where);
  return weight;
}

json read_forms(const SafetensorsFile& file) {
  const auto version = file.metadata().find("pare_format");
  const auto weights = file.metadata().find("weights");
  if (version == file.metadata().end() || weights == file.metadata().end()) {
    throw InputError(file.path().string() + ": not a file of Pare's own (no pare_format in its metadata)");
  }
  if (version->second != "1") {
    throw UnsupportedError(file.path().string() + ": pare_format " + version->second + ", this Pare reads 1");
  }
  return parse_json(weights->second, file.path().string() + ": weights");
}

}  // namespace

void write_weight_store(const std::filesystem::path& path, const std::map<std::string, Weight>& weights,
                        const std::map<std::string, std::string>& extra) {
  std::vector<TensorSpec> tensors;
  json forms = json::object();
  for (const auto& entry : weights) {  // clang 14 captures no structured bindings
    const std::string& name = entry.first;
    forms[name] = form_json(entry.second);
    for_each_part(entry.second,
                  [&](const char* part, Dtype dtype, std::vector<int64_t> shape, std::span<const std::byte>) {
                    tensors.push_back({name + "." + part, dtype, std::move(shape)});
                  });
  }
  auto metadata = extra;
  metadata["pare_format"] = "1";
  metadata["weights"] = forms.dump();
  SafetensorsWriter writer(path, std::move(tensors), std::move(metadata));
  for (const auto& entry : weights) {
    const std::string& name = entry.first;
    for_each_part(entry.second, [&](const char* part, Dtype, const std::vector<int64_t>&,
                                    std::span<const std::byte> bytes) { writer.write(name + "." + part, bytes); });
  }
  writer.finish();
}

uint64_t stored_bytes(const WeightForm& form) {
  const auto elements = static_cast<uint64_t>(form.elements());
  const auto cols = static_cast<uint64_t>(form.shape.empty() ? 1 : form.shape.back());
  const uint64_t rows = cols == 0 ? 0 : elements / cols;
  uint64_t bytes = form.masked ? rows * ((cols + 7) / 8) : 0;
  if (form.kind == WeightForm::Kind::grouped_ints) {
    const uint64_t group = static_cast<uint64_t>(form.group), groups = (cols + group - 1) / group;
    bytes += rows * ((cols * static_cast<uint64_t>(form.bits) + 7) / 8);
    bytes += rows * groups * (sizeof(float) + (form.symmetric ? 0 : 1));
  } else if (form.kind == WeightForm::Kind::dense) {
    bytes += elements * static_cast<uint64_t>(size_of(form.dtype));
  } else {
    bytes += form.bytes();
  }
  return bytes;
}

std::map<std::string, Weight> read_weight_store(const std::filesystem::path& path) {
  const auto file = SafetensorsFile::open(path);
  std::map<std::string, Weight> weights;
  const json forms = read_forms(file);
  for (const auto& [name, form] : forms.items()) weights.emplace(name, read_weight(file, name, form));
  return weights;
}

Weight read_stored_weight(const std::filesystem::path& path, const std::string& name) {
  const auto file = SafetensorsFile::open(path);
  const json forms = read_forms(file);
  if (!forms.contains(name)) throw InputError(path.string() + ": no weight " + name);
  return read_weight(file, name, forms.at(name));
}

}  // namespace pare
